package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// startS3 runs versitygw below dir: a real S3 server with Object Lock.
func startS3(ctx context.Context, dir string, keep bool) (*ObjectStore, *process, error) {
	server, err := program("versitygw")
	if err != nil {
		return nil, nil, err
	}
	data, versions, users := filepath.Join(dir, "s3", "data"), filepath.Join(dir, "s3", "versions"), filepath.Join(dir, "s3", "users")
	if err := errors.Join(os.MkdirAll(data, 0o755), os.MkdirAll(versions, 0o755), os.MkdirAll(users, 0o755)); err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	o := &ObjectStore{Endpoint: "http://" + addr, Region: "us-east-1", AccessKey: randomName("access"), SecretKey: randomName("secret")}
	p, err := startProcess(filepath.Join(dir, "s3.log"), "", keep,
		[]string{"ROOT_ACCESS_KEY=" + o.AccessKey, "ROOT_SECRET_KEY=" + o.SecretKey},
		server, "--port", addr, "--quiet", "--iam-dir", users, "posix", "--versioning-dir", versions, data)
	if err != nil {
		return nil, nil, err
	}
	return o, p, p.ready(ctx, "S3 server", func(ctx context.Context) error {
		_, err := o.client().ListBuckets(ctx, &s3.ListBucketsInput{})
		return err
	})
}

func (o *ObjectStore) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(o.Endpoint), Region: o.Region, UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, ""),
	})
}

// freshBucket makes a bucket with Object Lock on a server.
func freshBucket(ctx context.Context, server *ObjectStore, name string) (*ObjectStore, error) {
	fresh := *server
	fresh.Bucket = name
	_, err := fresh.client().CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: aws.String(name), ObjectLockEnabledForBucket: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("making a bucket: %w", err)
	}
	_, err = fresh.client().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: aws.String(name),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		return nil, fmt.Errorf("versioning a bucket: %w", err)
	}
	return &fresh, nil
}

// VaultServer is a running Vault and its root token.
type VaultServer struct {
	Addr  string `json:"addr"`
	Token string `json:"token"`
}

// startVault runs the trimmed Vault of internal/testenv/vaultd.
func startVault(ctx context.Context, dir string, keep bool) (*VaultServer, *process, error) {
	server, err := program("vaultd")
	if err != nil {
		return nil, nil, err
	}
	ready := filepath.Join(dir, "vault.json")
	p, err := startProcess(filepath.Join(dir, "vault.log"), "", keep, nil, server, "--ready-file", ready)
	if err != nil {
		return nil, nil, err
	}
	var v VaultServer
	return &v, p, p.ready(ctx, "Vault", func(context.Context) error {
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		c, err := net.DialTimeout("tcp", v.Addr[len("http://"):], time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
}
