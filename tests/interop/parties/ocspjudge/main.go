// What golang.org/x/crypto/ocsp makes of a responder's answers. Exit 0 for accepted, 1 for refused.
//
//	ocspjudge GET|POST ISSUING LEAF         asks the responder that the certificate names
//	ocspjudge STAPLED ISSUING LEAF ADDRESS  takes what a TLS server with that certificate staples
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

func certificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New(path + " has no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

func ask(method, responder string, request []byte) ([]byte, error) {
	var answer *http.Response
	var err error
	if method == http.MethodGet {
		answer, err = http.Get(responder + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(request)))
	} else {
		answer, err = http.Post(responder, "application/ocsp-request", bytes.NewReader(request))
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/ocsp-response" {
		return nil, fmt.Errorf("HTTP status %d with %q", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	return io.ReadAll(io.LimitReader(answer.Body, 1<<20))
}

// The server must have the leaf's key. What the leaf is for is not looked at: a person's certificate serves as well here.
func stapled(address string, leaf *x509.Certificate) ([]byte, error) {
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	state := connection.ConnectionState()
	switch {
	case !state.PeerCertificates[0].Equal(leaf):
		return nil, errors.New("the server has another certificate")
	case len(state.OCSPResponse) == 0:
		return nil, errors.New("the server staples nothing")
	}
	return state.OCSPResponse, nil
}

func obtain(arguments []string, issuing, leaf *x509.Certificate) ([]byte, error) {
	if arguments[1] == "STAPLED" {
		return stapled(arguments[4], leaf)
	}
	request, err := ocsp.CreateRequest(leaf, issuing, nil)
	if err != nil {
		return nil, err
	}
	return ask(arguments[1], leaf.OCSPServer[0], request)
}

func judge(arguments []string, issuing, leaf *x509.Certificate) error {
	if err := leaf.CheckSignatureFrom(issuing); err != nil {
		return err
	}
	body, err := obtain(arguments, issuing, leaf)
	if err != nil {
		return err
	}
	// The package verifies the signature and that the issuer signed the responder's certificate; what that one is for is left to us.
	answer, err := ocsp.ParseResponseForCert(body, leaf, issuing)
	if err != nil {
		return err
	}
	now := time.Now()
	switch {
	case answer.Certificate == nil || !slices.Contains(answer.Certificate.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the responder's certificate is not one for OCSP signing")
	case now.Before(answer.ThisUpdate) || now.After(answer.NextUpdate):
		return errors.New("the answer is not of today")
	case answer.Status == ocsp.Revoked:
		return fmt.Errorf("revoked, reason %d", answer.RevocationReason)
	case answer.Status != ocsp.Good:
		return fmt.Errorf("not good: status %d, unknown is %d", answer.Status, ocsp.Unknown)
	}
	return nil
}

func main() {
	issuing, err := certificate(os.Args[2])
	var leaf *x509.Certificate
	if err == nil {
		leaf, err = certificate(os.Args[3])
	}
	if err == nil {
		err = judge(os.Args, issuing, leaf)
	}
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}
