// Package s3 keeps a worm.Store in an S3 bucket with Object Lock: every object
// is created once (If-None-Match) and locked in COMPLIANCE mode, so that not
// even the account's owner can change or remove that version before its
// retention ends.
//
// On AWS a conditional create succeeds again after a delete marker. So the
// oldest version of a key is the truth, and whoever decides something by being
// first reads back what it created.
package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awscreds "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
)

const (
	// defaultTimeout bounds one attempt of one request.
	defaultTimeout = 5 * time.Second
	// slowest is the upload rate in bytes per second that an attempt's time
	// is still enough for.
	slowest = 1 << 20
	// defaultLimit is Get's limit when the caller gives none, in bytes.
	defaultLimit = 64 << 20
	// connections kept open to the store; more are opened when needed.
	connections = 64
)

// Config says which bucket, and how to reach it.
type Config struct {
	// Endpoint is the URL of an S3-compatible server; "" is AWS itself.
	Endpoint string
	// Region must be set; most other servers accept any.
	Region string
	// Bucket must have versioning and Object Lock.
	Bucket string
	// Prefix is put before every key, "" or ending in "/".
	Prefix string
	// PathStyle puts the bucket into the path instead of the host name.
	PathStyle bool
	// Retention is how long an object stays locked. It must be positive.
	Retention time.Duration
	// AccessKey and SecretKey are static credentials; both empty is AWS's
	// default chain (environment, web identity, container, instance).
	AccessKey string
	SecretKey masking.Secret
	// CAFile is a PEM file of the server's certificate authority, "" for the
	// system's.
	CAFile string
	// Timeout bounds one attempt of one request (more for a large body);
	// 0 is five seconds.
	Timeout time.Duration
	// Clock is time.Now if nil; it sets the end of the retention.
	Clock func() time.Time
}

// Store is a worm.Store in a bucket. It is safe for concurrent use.
type Store struct {
	cfg    Config
	client *s3.Client
}

var _ worm.Store = (*Store)(nil)

// New checks the configuration and builds a Store. It does not contact the
// bucket; Check does.
func New(ctx context.Context, cfg Config) (*Store, error) {
	switch {
	case cfg.Bucket == "":
		return nil, errors.New("configuring object store: no bucket given")
	case cfg.Region == "":
		return nil, errors.New("configuring object store: no region given")
	case cfg.Retention <= 0:
		return nil, errors.New("configuring object store: the retention must be positive")
	case (cfg.AccessKey == "") != (cfg.SecretKey == ""):
		return nil, errors.New("configuring object store: access key and secret key go together")
	}
	if cfg.Prefix != "" {
		if worm.CheckKey(strings.TrimSuffix(cfg.Prefix, "/")) != nil || !strings.HasSuffix(cfg.Prefix, "/") {
			return nil, errors.New("configuring object store: the prefix must be a key that ends in a slash")
		}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	httpClient, err := newHTTPClient(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("configuring object store: %w", err)
	}
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithRegion(cfg.Region), awsconfig.WithHTTPClient(httpClient)}
	if cfg.AccessKey != "" {
		options = append(options, awsconfig.WithCredentialsProvider(
			awscreds.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), "")))
	}
	loaded, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("configuring object store: %w", err)
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = cfg.PathStyle
		// This package retries itself: it must know each attempt's outcome.
		o.Retryer = aws.NopRetryer{}
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
	})
	return &Store{cfg: cfg, client: client}, nil
}

func newHTTPClient(caFile string) (*awshttp.BuildableClient, error) {
	var roots *x509.CertPool
	if caFile != "" {
		pem, err := os.ReadFile(caFile) // #nosec G304 -- the operator's own configuration names the file
		if err != nil {
			return nil, fmt.Errorf("reading certificate authority: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", caFile)
		}
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
		if roots != nil {
			t.TLSClientConfig.RootCAs = roots
		}
	}), nil
}

func (s *Store) bucket() *string { return aws.String(s.cfg.Bucket) }

func (s *Store) key(key string) *string { return aws.String(s.cfg.Prefix + key) }
