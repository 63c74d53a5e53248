// keep_asking CONNECTIONS SMALL-URL SMALL-FILE SLOW-URL SLOW-FILE: as many clients, of a connection each at a time,
// over which three ask for the small one with hardly a pause and one for the slow one; what they get must be the files.
// Goes on until stdin ends, then prints one line of JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

var (
	lock  sync.Mutex
	total = struct {
		Small       int      `json:"small"`
		Slow        int      `json:"slow"`
		Connections int      `json:"connections"`
		Failed      int      `json:"failed"`
		SmallMost   int64    `json:"small_most_ms"`
		Errors      []string `json:"errors"`
	}{Errors: []string{}}
	over = make(chan bool)
)

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	lock.Lock()
	total.Connections++
	lock.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

func ask(client *http.Client, url string, want []byte) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != 200 || answer.Proto != "HTTP/2.0" || !bytes.Equal(got, want)) {
		err = fmt.Errorf("%s %s, %d bytes", answer.Status, answer.Proto, len(got))
	}
	return err
}

func keepAsking(client *http.Client, url string, want []byte, count *int, most *int64, done *sync.WaitGroup) {
	defer done.Done()
	for {
		select {
		case <-over:
			return
		default:
		}
		began := time.Now()
		err := ask(client, url, want)
		took := time.Since(began).Milliseconds()
		lock.Lock()
		*count++
		if took > *most {
			*most = took
		}
		if err != nil {
			total.Failed++
			total.Errors = append(total.Errors, err.Error())
		}
		lock.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}

func main() {
	log.SetFlags(0)
	connections, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var files [2][]byte
	for i, name := range []string{os.Args[3], os.Args[5]} {
		if files[i], err = os.ReadFile(name); err != nil {
			log.Fatal(err)
		}
	}
	var done sync.WaitGroup
	var ignored int64
	for i := 0; i < connections; i++ {
		client := &http.Client{Transport: &http.Transport{DialContext: dial, ForceAttemptHTTP2: true}}
		if err = ask(client, os.Args[2], files[0]); err != nil { // else each of them would dial
			log.Fatal(err)
		}
		total.Small++
		done.Add(4)
		for j := 0; j < 3; j++ {
			go keepAsking(client, os.Args[2], files[0], &total.Small, &total.SmallMost, &done)
		}
		go keepAsking(client, os.Args[4], files[1], &total.Slow, &ignored, &done)
	}
	io.Copy(io.Discard, os.Stdin)
	close(over)
	done.Wait()
	json.NewEncoder(os.Stdout).Encode(total)
}
