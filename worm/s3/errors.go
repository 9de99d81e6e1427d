package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/chaperone-sql/chaperone/worm"
)

// isContract reports whether an error is already one of the contract's.
func isContract(err error) bool {
	for _, known := range []error{worm.ErrExists, worm.ErrNotFound, worm.ErrTooLarge, worm.ErrBody} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// isCode reports whether the server answered with an S3 error code.
func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// isStatus reports whether the server answered with the HTTP status.
func isStatus(err error, status int) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == status
}

// unknown reports whether an attempt's outcome is open, or may differ next
// time: everything but a plain refusal.
func unknown(err error) bool {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() == 0 {
		// No answer. What failed before a request was made (no credentials,
		// say) may mend itself as well.
		return true
	}
	switch response.HTTPStatusCode() {
	case http.StatusConflict, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "RequestTimeout", "SlowDown", "RequestTimeTooSkewed", "ExpiredToken":
			return true
		}
	}
	return response.HTTPStatusCode() >= 500
}

// safe keeps of an error what may be logged: the SDK's own texts can hold the
// URL and parts of the server's answer.
func safe(err error) error {
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	switch {
	case errors.As(err, &response) && errors.As(err, &api):
		return fmt.Errorf("the server answered %d %s", response.HTTPStatusCode(), api.ErrorCode())
	case errors.As(err, &response) && response.HTTPStatusCode() > 0:
		return fmt.Errorf("the server answered %d", response.HTTPStatusCode())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errors.New("no answer in time")
	case errors.As(err, &response):
		return errors.New("no answer")
	}
	return err
}
