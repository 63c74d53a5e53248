// quic: a client and a server of QUIC, by quic-go.
//
//	serve ADDRESS:PORT CERT KEY  echoes what comes; at an odd port each client is sent a Retry first
//	say ADDRESS:PORT CA NAME...  from one socket, one connection after the other: what came of each
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	quic "github.com/lucas-clemente/quic-go"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func serve(address, cert, key string) {
	to, err := net.ResolveUDPAddr("udp", address)
	must(err)
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(err)
	listener, err := quic.ListenAddr(address, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"echo"}},
		&quic.Config{RequireAddressValidation: func(net.Addr) bool { return to.Port%2 == 1 }})
	must(err)
	for {
		connection, err := listener.Accept(context.Background())
		must(err)
		go func() {
			for {
				stream, err := connection.AcceptStream(context.Background())
				if err != nil {
					return
				}
				io.Copy(stream, stream)
				stream.Close()
			}
		}()
	}
}

func say(socket net.PacketConn, to *net.UDPAddr, roots *x509.CertPool, name string) error {
	within, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection, err := quic.DialContext(within, socket, to, name,
		&tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"echo", "h3"}}, nil)
	if err != nil {
		return err
	}
	defer connection.CloseWithError(0, "")
	stream, err := connection.OpenStreamSync(within)
	if err != nil {
		return err
	}
	text := make([]byte, 100000)
	go func() { stream.Write(text); stream.Close() }()
	back, err := io.ReadAll(stream)
	if err == nil && len(back) != len(text) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3], os.Args[4])
	}
	to, err := net.ResolveUDPAddr("udp", os.Args[2])
	must(err)
	pem, err := os.ReadFile(os.Args[3])
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	socket, err := net.ListenUDP("udp", nil)
	must(err)
	for _, name := range os.Args[4:] {
		if err := say(socket, to, roots, name); err != nil {
			fmt.Println(name, err)
		} else {
			fmt.Println(name, "ok")
		}
	}
}
