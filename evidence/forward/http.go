package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// Secret gives a token or key. It is asked before each request, so that one that
// was changed is used without a restart.
type Secret func() (masking.Secret, error)

// HTTP is a receiver that is reached by HTTP.
type HTTP struct {
	URL string
	// Secret is its token or key; nil for none.
	Secret Secret
	// TLS of https URLs; nil trusts the system's authorities.
	TLS *tls.Config
}

const (
	// maxAnswer bounds what is read of an answer in bytes.
	maxAnswer = 64 << 10
	// connect bounds connecting and the TLS handshake, each.
	connect = 10 * time.Second
)

// poster sends requests to one URL.
type poster struct {
	HTTP
	client    *http.Client
	transport *http.Transport
}

func newPoster(h HTTP) *poster {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: h.TLS, TLSHandshakeTimeout: connect, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: concurrent, MaxConnsPerHost: concurrent, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
	}
	return &poster{HTTP: h, transport: transport, client: &http.Client{
		Transport: transport, Timeout: attempt,
		// A body and a token go where the operator said, nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *poster) close() { p.transport.CloseIdleConnections() }

// post sends a body and gives the answer, also of a receiver that did not take it.
func (p *poster) post(ctx context.Context, body []byte, header map[string]string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request could not be made") // its own words hold the URL
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err := judge(res); err != nil {
		return answer, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", bare(err))
	}
	return answer, nil
}

// check tells whether the receiver answers. It is sent nothing, nor its secret.
func (p *poster) check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, http.NoBody)
	if err != nil {
		return errors.New("the request could not be made")
	}
	res, err := p.client.Do(req)
	if err != nil {
		return bare(err)
	}
	return res.Body.Close()
}

// secret resolves the receiver's secret.
func (p *poster) secret() (string, error) {
	s, err := p.Secret()
	if err != nil {
		return "", &denied{"its secret cannot be read: " + err.Error()}
	}
	return s.Reveal(), nil
}

// bare takes the URL out of an error.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// judge says what a status means for what was sent. Nothing of the answer is
// repeated: a receiver may quote what it got.
func judge(res *http.Response) error {
	status := res.StatusCode
	reason := "the receiver answers " + strconv.Itoa(status)
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return &later{retryAfter(res.Header.Get("Retry-After")), reason}
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return &refused{reason: reason}
	default:
		return &denied{reason}
	}
}

// retryAfter reads the header of RFC 9110, section 10.2.3.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		return time.Duration(seconds) * time.Second // #nosec G115 -- 16 bits
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one that there is
	_, _ = w.Write(body)                            // a Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}
