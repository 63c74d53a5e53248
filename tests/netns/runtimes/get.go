// get URL: prints what is at URL. get -roots FILE URL: trusts what is in FILE alone, as programs do
// that carry their roots inside. get -pin FILE URL: wants the key of the certificate in FILE, too.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
)

func read(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return data
}

func pinned(path string) func(tls.ConnectionState) error {
	block, _ := pem.Decode(read(path))
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	return func(state tls.ConnectionState) error {
		if !bytes.Equal(state.PeerCertificates[0].RawSubjectPublicKeyInfo, want.RawSubjectPublicKeyInfo) {
			return errors.New("not the key that is pinned")
		}
		return nil
	}
}

func main() {
	roots := flag.String("roots", "", "")
	pin := flag.String("pin", "", "")
	flag.Parse()
	log.SetFlags(0)
	config := &tls.Config{}
	if *roots != "" {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(read(*roots))
	}
	if *pin != "" {
		config.VerifyConnection = pinned(*pin)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	answer, err := client.Get(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		log.Fatal(err)
	}
}
