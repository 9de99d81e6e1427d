package evidence_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// TestMain gives the package's own tests a real bucket: they cannot import
// testenv, which imports evidence.
func TestMain(m *testing.M) {
	evidence.OpenBucket = bucket
	os.Exit(m.Run())
}

// bucket is a fresh bucket on a real server, and its administrator.
func bucket(t testing.TB) evidence.Bucket {
	t.Helper()
	server := testenv.S3(t)
	store := openS3(t, server, server.Endpoint, 0)
	client := awss3.New(awss3.Options{Region: server.Region, BaseEndpoint: &server.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, "")})
	return evidence.Bucket{
		Store: store,
		Hide: func(key string) {
			_, err := client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &server.Bucket, Key: &key})
			check(t, err)
		},
		Overwrite: func(key string, body []byte) {
			_, err := client.PutObject(t.Context(),
				&awss3.PutObjectInput{Bucket: &server.Bucket, Key: &key, Body: bytes.NewReader(body)})
			check(t, err)
		},
	}
}
