package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const longestBodyBytes = 64 << 20

// Routes:
//
//	/         what arrived, as JSON, with the pod's name and SAMPLE_NAME
//	/echo     the body again, as it comes in: a stream while both ends stay open
//	/slow     after ?ms= milliseconds, "slow"
//	/status   with status ?code=
//	/bytes    ?count= bytes of "x"
//	/discard  how many bytes the body had
//	/ws       WebSocket, every message again
//	application/grpc  every length-prefixed message again, then trailers with status 0
func serveHTTP(address string) error {
	return httpServer(address).ListenAndServe()
}

func serveHTTPS(address string) error {
	return httpServer(address).ListenAndServeTLS(os.Getenv("TLS_CERT"), os.Getenv("TLS_KEY"))
}

func httpServer(address string) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", describe)
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/status", status)
	mux.HandleFunc("/bytes", manyBytes)
	mux.HandleFunc("/discard", discard)
	mux.HandleFunc("/ws", webSocket)
	server := &http.Server{Addr: address, ReadHeaderTimeout: clientTimeout}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			grpcEcho(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server
}

func describe(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, longestBodyBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	host, _ := os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Served-By", host)
	json.NewEncoder(w).Encode(map[string]any{
		"name": os.Getenv("SAMPLE_NAME"), "host": host, "remote": r.RemoteAddr, "protocol": r.Proto,
		"method": r.Method, "path": r.URL.RequestURI(), "authority": r.Host, "headers": r.Header, "body": string(body),
	})
}

func echo(w http.ResponseWriter, r *http.Request) {
	// HTTP/1.1 answers before the request ends only when asked to.
	http.NewResponseController(w).EnableFullDuplex()
	if kind := r.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	copyAsItComes(w, r.Body)
}

func copyAsItComes(w http.ResponseWriter, from io.Reader) {
	control := http.NewResponseController(w)
	control.Flush()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, failed := w.Write(buffer[:n]); failed != nil {
				return
			}
			control.Flush()
		}
		if err != nil {
			return
		}
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		io.WriteString(w, "slow")
	case <-r.Context().Done():
	}
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil || code < 200 || code > 599 {
		code = http.StatusBadRequest
	}
	w.WriteHeader(code)
}

func manyBytes(w http.ResponseWriter, r *http.Request) {
	count, _ := strconv.ParseInt(r.URL.Query().Get("count"), 10, 64)
	block := []byte(strings.Repeat("x", 64<<10))
	for ; count > 0; count -= int64(len(block)) {
		if _, err := w.Write(block[:min(count, int64(len(block)))]); err != nil {
			return
		}
	}
}

func discard(w http.ResponseWriter, r *http.Request) {
	count, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	io.WriteString(w, strconv.FormatInt(count, 10))
}

// grpcEcho speaks what a generic gRPC client sees: messages keep their prefix, so that their bytes can go back as they are.
func grpcEcho(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	copyAsItComes(w, r.Body)
	w.Header().Set("Grpc-Status", "0")
}
