// beside BIG SMALL N: gets BIG and, when it has begun to come, N times SMALL at once, all on one connection.
// Prints of the small ones how long they took (in the middle and at most, in µs) and how much of the big one came
// meanwhile (in the middle and at most, in kB); how much of it was there when all of them were, and in the end.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var came int64 // of the big one

func get(url string) io.Reader {
	answer, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	if answer.StatusCode != 200 || answer.Proto != "HTTP/2.0" {
		log.Fatal(url, ": ", answer.Status, " ", answer.Proto)
	}
	return answer.Body
}

func download(body io.Reader, begun, done chan<- bool) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := body.Read(buffer)
		before := atomic.AddInt64(&came, int64(n)) - int64(n)
		if before < 1<<20 && before+int64(n) >= 1<<20 {
			close(begun)
		}
		if err == io.EOF {
			close(done)
			return
		} else if err != nil {
			log.Fatal(err)
		}
	}
}

func middleAndMost(figures []int64) (int64, int64) {
	sort.Slice(figures, func(i, j int) bool { return figures[i] < figures[j] })
	return figures[len(figures)/2], figures[len(figures)-1]
}

func main() {
	log.SetFlags(0)
	n, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	begun, done := make(chan bool), make(chan bool)
	go download(get(os.Args[1]), begun, done)
	<-begun
	took, meanwhile := make([]int64, n), make([]int64, n)
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			began, before := time.Now(), atomic.LoadInt64(&came)
			if _, err := io.Copy(io.Discard, get(os.Args[2])); err != nil {
				log.Fatal(err)
			}
			took[i], meanwhile[i] = time.Since(began).Microseconds(), (atomic.LoadInt64(&came)-before)/1000
		}(i)
	}
	all.Wait()
	there := atomic.LoadInt64(&came)
	<-done
	us, mostUs := middleAndMost(took)
	kb, mostKb := middleAndMost(meanwhile)
	fmt.Println(us, mostUs, kb, mostKb, there, came)
}
