package bundle_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestVerifyPy runs verify.py's own tests: stores and bundles that were made in
// Python from the format document alone.
func TestVerifyPy(t *testing.T) {
	out, err := exec.Command("python3", "verify_test.py").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OK") {
		t.Errorf("%v\n%s", err, out)
	}
}
