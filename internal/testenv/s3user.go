package testenv

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3User makes a user of the S3 server that has no rights of its own, and gives
// the bucket as that user sees it. S3Policy grants what it may do.
func S3User(tb testing.TB, o *ObjectStore, name string) *ObjectStore {
	tb.Helper()
	server, err := program("versitygw")
	must(tb, err)
	user := *o
	user.AccessKey, user.SecretKey = randomName(name), randomName("secret")
	// #nosec G204 -- the test's own server
	out, err := exec.CommandContext(startContext(tb), server, "admin", "--allow-insecure", "--access", o.AccessKey, "--secret", o.SecretKey,
		"--endpoint-url", o.Endpoint, "--region", o.Region, "create-user", "--access", user.AccessKey, "--secret", user.SecretKey,
		"--role", "user").CombinedOutput()
	if err != nil {
		tb.Fatalf("making a user of the S3 server: %v: %s", err, out)
	}
	return &user
}

// S3Policy sets the bucket's policy: a document with the names BUCKET and those
// of users, each put in by its replacement.
func S3Policy(tb testing.TB, o *ObjectStore, policy string, replace ...string) {
	tb.Helper()
	policy = strings.NewReplacer(append([]string{"BUCKET", o.Bucket}, replace...)...).Replace(policy)
	_, err := o.client().PutBucketPolicy(startContext(tb), &s3.PutBucketPolicyInput{Bucket: aws.String(o.Bucket), Policy: aws.String(policy)})
	must(tb, err)
}
