package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/witness"
)

// keys makes keys. The private part goes to a file that only its owner can
// read, and that must not exist; the public part is printed.
func keys(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("which key? signing, age or witness")
	}
	var name, path string
	var hybrid bool
	_, err := flags("keys "+args[0], args[1:], func(f *flag.FlagSet) {
		f.StringVar(&path, "out", "", "file for the private key")
		switch args[0] {
		case "signing":
			f.StringVar(&name, "name", "", "name of the key, such as the gateway's instance")
		case "witness":
			f.StringVar(&name, "name", "", "name of the witness, such as witness.example.org/w1")
		default:
			f.BoolVar(&hybrid, "hybrid", false, "post-quantum hybrid (ML-KEM-768 and X25519)")
		}
	})
	if err != nil {
		return err
	}
	if path == "" {
		return errors.New("give --out FILE")
	}
	switch args[0] {
	case "signing":
		private, public, err := evidence.GenerateSigner(name)
		if err != nil {
			return err
		}
		if err := evidence.WritePrivateFile(path, private); err != nil {
			return err
		}
		fmt.Fprintln(out, public)
	case "age":
		private, recipient, err := evidence.GenerateIdentity(hybrid)
		if err != nil {
			return err
		}
		if err := evidence.WritePrivateFile(path, private); err != nil {
			return err
		}
		fmt.Fprintln(out, recipient)
	case "witness":
		private, public, err := witness.GenerateKey(name)
		if err != nil {
			return err
		}
		if err := evidence.WritePrivateFile(path, private); err != nil {
			return err
		}
		fmt.Fprintln(out, public)
	default:
		return fmt.Errorf("there is no key %q; there are signing, age and witness", args[0])
	}
	return nil
}
