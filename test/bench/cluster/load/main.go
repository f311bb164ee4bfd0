// The measuring program of the cluster's benchmark: prints one line of JSON. It runs alike beside a pod, behind
// kubectl port-forward and in a session, and knows of none of them.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

type result map[string]float64

func main() {
	kinds := map[string]func([]string) result{
		"latency": latency, "connect": connect, "dns": dns, "open": open, "stat": stat,
		"download": download, "upload": upload, "http": load,
	}
	json.NewEncoder(os.Stdout).Encode(kinds[os.Args[1]](os.Args[2:]))
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	return value
}

func number(text string) int { return must(strconv.Atoi(text)) }

// Microseconds: median and the slowest in a hundred; and how many per second.
func summary(times []time.Duration, took time.Duration) result {
	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	at := func(share float64) float64 { return times[int(float64(len(times)-1)*share)].Seconds() * 1e6 }
	return result{"p50": at(0.5), "p99": at(0.99), "perSecond": float64(len(times)) / took.Seconds()}
}

func serially(count, warm int, once func(int)) result {
	times := make([]time.Duration, 0, count)
	var began time.Time
	for i := -warm; i < count; i++ {
		if i == 0 {
			began = time.Now()
		}
		start := time.Now()
		once(i + warm)
		if i >= 0 {
			times = append(times, time.Since(start))
		}
	}
	return summary(times, time.Since(began))
}

func exchange(conn net.Conn) {
	one := []byte{1}
	must(conn.Write(one))
	must(io.ReadFull(conn, one))
}

func latency(words []string) result {
	conn := must(net.Dial("tcp", words[0]))
	return serially(number(words[1]), 200, func(int) { exchange(conn) })
}

func connect(words []string) result {
	return serially(number(words[1]), 20, func(int) {
		conn := must(net.Dial("tcp", words[0]))
		exchange(conn)
		conn.Close()
	})
}

// dns NAME COUNT: a "#" in the name stands for two numbers that are others for each lookup
func dns(words []string) result {
	resolver := net.Resolver{PreferGo: true}
	return serially(number(words[1]), 20, func(i int) {
		name := strings.Replace(words[0], "#", fmt.Sprintf("%d-%d", i/250, i%250), 1)
		must(resolver.LookupIP(context.Background(), "ip4", name))
	})
}

// open FOLDER COUNT WARM: files called 0000 and so on, each once, the first WARM of them not counted
func open(words []string) result {
	buffer := make([]byte, 4096)
	return serially(number(words[1]), number(words[2]), func(i int) {
		file := must(os.Open(fmt.Sprintf("%s/%04d", words[0], i)))
		must(file.Read(buffer))
		file.Close()
	})
}

// stat FOLDER COUNT WARM: as open
func stat(words []string) result {
	return serially(number(words[1]), number(words[2]), func(i int) { must(os.Stat(fmt.Sprintf("%s/%04d", words[0], i))) })
}

func megabytesPerSecond(count int64, since time.Time) result {
	return result{"mbPerSecond": float64(count) / 1e6 / time.Since(since).Seconds()}
}

func download(words []string) result {
	began := time.Now()
	answer := must(http.Get(fmt.Sprintf("http://%s/bytes?count=%s", words[0], words[1])))
	return megabytesPerSecond(must(io.Copy(io.Discard, answer.Body)), began)
}

func upload(words []string) result {
	count := int64(number(words[1]))
	body := bytes.NewReader(make([]byte, count))
	began := time.Now()
	answer := must(http.Post(fmt.Sprintf("http://%s/discard", words[0]), "application/octet-stream", body))
	said := must(io.ReadAll(answer.Body))
	if string(said) != words[1] {
		must(0, fmt.Errorf("the other side got %q of %s bytes", said, words[1]))
	}
	return megabytesPerSecond(count, began)
}

// load URL CONNECTIONS SECONDS
func load(words []string) result {
	var lock sync.Mutex
	var times []time.Duration
	var group sync.WaitGroup
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second}
	began := time.Now()
	until := began.Add(time.Duration(number(words[2])) * time.Second)
	for range number(words[1]) {
		group.Go(func() {
			var own []time.Duration
			for time.Now().Before(until) {
				start := time.Now()
				answer := must(client.Get(words[0]))
				must(io.Copy(io.Discard, answer.Body))
				answer.Body.Close()
				own = append(own, time.Since(start))
			}
			lock.Lock()
			times = append(times, own...)
			lock.Unlock()
		})
	}
	group.Wait()
	return summary(times, time.Since(began))
}
