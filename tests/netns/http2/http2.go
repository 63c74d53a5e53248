// http2 serve PORT KEY CERT: an HTTP/2 server on 127.0.0.1: answers a GET with the file /a of the working
// directory, a POST with what was sent, and says what it saw, a line a request. http2 ask UPLOAD NAME=URL...:
// a client of such servers, see ask.sh for what it prints.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func serve(answer http.ResponseWriter, request *http.Request) {
	var body []byte
	var err error
	if request.Method == "POST" {
		body, err = io.ReadAll(request.Body)
	} else {
		body, err = os.ReadFile("a")
	}
	if err != nil {
		log.Fatal(err)
	}
	answer.Header().Set("Trailer", "X-Trailer")
	answer.Write(body)
	answer.Header().Set("X-Trailer", "done")
	fmt.Println(request.Method, request.URL, request.Proto, "sent="+request.Trailer.Get("X-Sent"))
}

func ask(name, method, url string, body []byte) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	if body != nil && name != "nginx" {
		request.Trailer = http.Header{"X-Sent": {"it"}}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %d %s %d %.8x %s\n", name, method, answer.StatusCode, answer.Proto, len(got), sha256.Sum256(got),
		answer.Trailer.Get("X-Trailer"))
}

func main() {
	log.SetFlags(0)
	if os.Args[1] == "serve" {
		log.Fatal(http.ListenAndServeTLS("127.0.0.1:"+os.Args[2], os.Args[4], os.Args[3], http.HandlerFunc(serve)))
	}
	upload, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	for _, server := range os.Args[3:] {
		name, url, _ := strings.Cut(server, "=")
		ask(name, "GET", url+"/a?go", nil)
		ask(name, "POST", url+"/post/go", upload)
	}
}
