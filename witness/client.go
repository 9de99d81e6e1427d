package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/loopback"
)

const (
	// timeout bounds one request.
	timeout = 10 * time.Second
	// maxAnswer bounds an answer in bytes: a few lines of signatures.
	maxAnswer = 8 << 10
	// maxSkew is how far the clocks of a witness and its client may be apart.
	maxSkew = 5 * time.Minute
)

// Client asks one witness. It is safe for concurrent use.
type Client struct {
	url  string
	key  *torchwood.CosignatureVerifier
	http *http.Client
	now  func() time.Time
}

var _ evidence.Cosigner = (*Client)(nil)

// NewClient makes a client of the witness at a submission prefix, which must be
// https unless its host is loopback, whose verifier key is the line
// "<name>+<hash>+<base64>" of type 0x04 (Ed25519, cosignature/v1).
func NewClient(prefix, key string) (*Client, error) {
	u, err := url.Parse(prefix)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the URL of a witness is https://HOST/PATH and nothing else")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Is(u.Hostname())) {
		return nil, errors.New("the URL of a witness must be https, unless its host is loopback")
	}
	verifier, err := torchwood.NewCosignatureVerifier(strings.TrimSpace(key))
	if err != nil {
		return nil, fmt.Errorf("the key of a witness is a line as `chaperone witness` prints it: %w", err)
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("no HTTP transport")
	}
	transport = transport.Clone()
	transport.MaxResponseHeaderBytes = maxAnswer
	return &Client{url: strings.TrimSuffix(u.String(), "/") + "/add-checkpoint", key: verifier, now: time.Now,
		http: &http.Client{Timeout: timeout, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // it would lead the gateway elsewhere
		}}}, nil
}

// Name is that of the witness' key.
func (c *Client) Name() string { return c.key.Name() }

// Cosign asks for a cosignature; see evidence.Cosigner. Nothing that the witness
// says but its verified signature and sizes gets out of here.
func (c *Client) Cosign(ctx context.Context, old uint64, proof [][]byte, checkpoint []byte) ([]byte, error) {
	body := request{old, proof, checkpoint}.encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking a witness: %w", err)
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking a witness: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("asking a witness: reading its answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("asking a witness: its answer is longer than %d bytes", maxAnswer)
	}
	return c.read(resp, checkpoint, answer)
}

func (c *Client) read(resp *http.Response, checkpoint, answer []byte) ([]byte, error) {
	switch {
	case resp.StatusCode == http.StatusOK:
		return c.cosignature(checkpoint, answer)
	case resp.StatusCode == http.StatusConflict && resp.Header.Get("Content-Type") == sizeType:
		size, err := parseSize(strings.TrimSuffix(string(answer), "\n"))
		if err != nil {
			return nil, errors.New("asking a witness: it answers 409 without a size")
		}
		return nil, &evidence.SizeError{Size: size}
	case resp.StatusCode == http.StatusNotFound:
		return nil, errors.New("asking a witness: it does not know this log or the gateway's key (404)")
	case resp.StatusCode == http.StatusForbidden:
		return nil, errors.New("asking a witness: it does not believe the gateway's signature (403)")
	case resp.StatusCode == http.StatusUnprocessableEntity:
		return nil, errors.New("asking a witness: to it the log does not continue what it cosigned (422)")
	default:
		return nil, fmt.Errorf("asking a witness: it answers %d", resp.StatusCode)
	}
}

// cosignature takes the witness' own signature out of its answer and verifies it.
func (c *Client) cosignature(checkpoint, answer []byte) ([]byte, error) {
	end := bytes.LastIndex(checkpoint, []byte("\n\n"))
	if end < 0 {
		return nil, errors.New("asking a witness: the checkpoint is no note")
	}
	signed := append(bytes.Clone(checkpoint[:end+2]), answer...)
	n, err := note.Open(signed, note.VerifierList(c.key))
	if err != nil {
		return nil, fmt.Errorf("asking a witness: its answer holds no cosignature by its key: %w", err)
	}
	at, err := torchwood.CosignatureTimestamp(n.Sigs[0])
	if err != nil {
		return nil, fmt.Errorf("asking a witness: %w", err)
	}
	if off := c.now().Sub(time.Unix(at, 0)); off.Abs() > maxSkew {
		return nil, fmt.Errorf("asking a witness: its clock and ours differ by %s", off.Round(time.Second))
	}
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return nil, fmt.Errorf("asking a witness: %w", err)
	}
	return []byte("— " + n.Sigs[0].Name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}
