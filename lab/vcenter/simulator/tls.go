// TLS: a certificate authority made at start, and a server certificate signed by it.

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

type identity struct {
	config     *tls.Config
	ca         []byte // PEM
	thumbprint string // SHA-256 of the server certificate, as vSphere writes it: AA:BB:…
}

// keptIdentity is the one that the file keeps, or a new one, which the file keeps from then on.
func keptIdentity(file string, names []string) (*identity, error) {
	if text, err := os.ReadFile(file); err == nil {
		return readIdentity(text)
	}
	id, err := newIdentity(names)
	if err != nil || file == "" {
		return id, err
	}
	text := slices.Clone(id.ca)
	for _, der := range id.config.Certificates[0].Certificate[:1] {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(id.config.Certificates[0].PrivateKey)
	if err != nil {
		return nil, err
	}
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return id, os.WriteFile(file, text, 0o600)
}

// readIdentity reads the CA's certificate, the server's certificate and its key, in this order.
func readIdentity(text []byte) (*identity, error) {
	var blocks [3]*pem.Block
	rest := text
	for i := range blocks {
		if blocks[i], rest = pem.Decode(rest); blocks[i] == nil {
			return nil, fmt.Errorf("identity file: %d of 3 parts", i)
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[2].Bytes)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	return identityOf(blocks[0].Bytes, blocks[1].Bytes, key), nil
}

// newIdentity makes a CA and a certificate valid for the usual local names and those given.
func newIdentity(names []string) (*identity, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	year := 365 * 24 * time.Hour
	ca := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "isthmus lab CA"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "vcenter.lab"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(year),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range append([]string{"127.0.0.1", "::1", "localhost"}, names...) {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else if name != "" {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return identityOf(caDER, leafDER, key), nil
}

func identityOf(caDER, leafDER []byte, key any) *identity {
	sum := sha256.Sum256(leafDER)
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	var pairs []string
	for i := 0; i < len(text); i += 2 {
		pairs = append(pairs, text[i:i+2])
	}
	return &identity{
		config: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER, caDER}, PrivateKey: key}},
		},
		ca:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		thumbprint: strings.Join(pairs, ":"),
	}
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return n
}

func (id *identity) writeCA(file string) error { return os.WriteFile(file, id.ca, 0o644) }
