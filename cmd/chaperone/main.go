// Command chaperone is the gateway and what its operators and auditors need
// beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "dev"

const usage = `chaperone: the HTTP query gateway between AI agents and clinical databases

  chaperone serve   --config FILE                    run the gateway
  chaperone check   --config FILE                    try every dependency and say what to mend
  chaperone keys    signing --name NAME --out FILE   make the key that signs the evidence log
  chaperone keys    age --out FILE                   make an age identity (approvals, auditors)
  chaperone keys    witness --name NAME --out FILE   make the key of a witness; prints the public line
  chaperone witness --listen ADDR --key FILE --gateways KEYS --state DIR [--init] [--tls-cert FILE --tls-key FILE]
                                                     cosign gateways' logs; best run by somebody else
  chaperone witness checkpoints --key FILE --state DIR
                                                     what was cosigned last, for evidence verify --checkpoints
  chaperone masks    apply|diff|drop --config FILE --connection NAME [--schema NAME] [--dsn-file FILE] [--print] [--yes]
                                                     masks applied by the database itself
  chaperone evidence verify --config FILE | --dir DIR --keys FILE | --bundle ZIP --keys FILE [--checkpoints FILE] [--json]
                            [--witness-keys FILE [--witness-within TIME] [--witness-since TIME]]
  chaperone evidence fetch  --config FILE --to DIR   copy the evidence out of the store
  chaperone evidence bundle --config FILE --since T --until T [--principal …] [--sign KEY] --out FILE.zip
  chaperone evidence export (--config FILE | --dir DIR --keys FILE | --bundle ZIP --keys FILE)
                            --format csv|ocsf|fhir [--since T --until T --principal …] [--out FILE]
                                                     records for spreadsheets, SIEMs, health record systems
  chaperone evidence token  --config FILE --class CLASS   token of the identifier on standard input, for --patient
  chaperone evidence replay --config FILE SESSION-OR-QUERY
  chaperone evidence hold   --config FILE --query ID | --session ID [--release] --reason TEXT
                                                     legal hold on all that holds these records
  chaperone evidence extend --config FILE --since TIME --until TIME --to DATE --reason TEXT
                                                     keep the records of a period longer; never shorter
  chaperone evidence differencing --config FILE      list aggregates of one caller that nearly repeat one another
  chaperone evidence open   --config FILE --identity FILE RECORD-ID
  chaperone classify        --config FILE --connection NAME [--sample ROWS] [--previous FILE] [--out FILE]
  chaperone catalog save    --config FILE --connection NAME --out FILE
  chaperone policy explain  --config FILE [--catalog FILE] [--json] --connection NAME 'SQL' | -
  chaperone policy explain  --config FILE [--catalog FILE] [--json] --request FILE | -
  chaperone policy test     --config FILE [--catalog FILE] [--json] FILE.yaml …
  chaperone version

What stands on a command line is visible to everybody on the machine: give a
statement that holds identifiers on standard input (-), or with its parameters
as --request. With --catalog nothing is asked and no secret is needed.
`

// Exit codes. Verification tells its findings apart from its failures.
const (
	exitOK = iota
	exitFindings
	exitFailed
)

// errFindings: verification worked, and found something.
var errFindings = errors.New("there are findings")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	err := dispatch(ctx, args, out, errs)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errFindings):
		return exitFindings
	}
	fmt.Fprintln(errs, "chaperone:", err)
	return exitFailed
}

func dispatch(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(errs, usage)
		return errors.New("which command?")
	}
	rest := args[1:]
	switch args[0] {
	case "serve":
		return serve(ctx, rest, errs)
	case "check":
		return check(ctx, rest, out)
	case "keys":
		return keys(rest, out)
	case "masks":
		return masksCommand(ctx, rest, out)
	case "evidence":
		return evidenceCommand(ctx, rest, out)
	case "witness":
		return witnessCommand(ctx, rest, out, errs)
	case "classify":
		return classifyCommand(ctx, rest, out)
	case "catalog":
		return catalogCommand(ctx, rest, out)
	case "policy":
		return policyCommand(ctx, rest, os.Stdin, out)
	case "version":
		fmt.Fprintln(out, "chaperone", version)
		return nil
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
		return nil
	}
	fmt.Fprint(errs, usage)
	return fmt.Errorf("there is no command %q", args[0])
}

// flags parses a command's flags and gives its other arguments.
func flags(name string, args []string, define func(*flag.FlagSet)) ([]string, error) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	define(set)
	// Flags may follow arguments, as people write them.
	var rest []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if args = set.Args(); len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}
