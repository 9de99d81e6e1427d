package evidence

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/s3"
)

// admin is somebody with every right on a bucket that its lock leaves.
type admin struct {
	client *awss3.Client
	bucket string
}

func (a admin) hide(t testing.TB, key string) {
	t.Helper()
	_, err := a.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &a.bucket, Key: &key})
	must(t, err)
}

func (a admin) overwrite(t testing.TB, key string, body []byte) {
	t.Helper()
	_, err := a.client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &a.bucket, Key: &key, Body: bytes.NewReader(body)})
	must(t, err)
}

// bucket is a fresh bucket on a real server, and its administrator.
func bucket(t testing.TB) (worm.Store, admin) {
	t.Helper()
	server := testenv.S3(t)
	store, err := s3.New(t.Context(), s3.Config{Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
		PathStyle: true, Retention: time.Hour, AccessKey: server.AccessKey, SecretKey: masking.Secret(server.SecretKey)})
	must(t, err)
	client := awss3.New(awss3.Options{Region: server.Region, BaseEndpoint: &server.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, "")})
	return store, admin{client, server.Bucket}
}
