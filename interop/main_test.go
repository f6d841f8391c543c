package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// serverName is what the certificate of the tests' servers is for.
const serverName = "tunnel.example"

// authority is the one that signed it, and serverCertificate the certificate.
var (
	authority         = x509.NewCertPool()
	serverCertificate tls.Certificate
)

// TestMain makes the authority one of the system's: v1.0.50 verifies against no
// others in mode 2. The system's are read at the first use, and so after this.
func TestMain(m *testing.M) {
	if raceDetector {
		fmt.Println("skipped: v1.0.50 races with itself")
		os.Exit(0)
	}
	roots, err := makeCertificates()
	if err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", roots)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.Remove(roots)
		os.Exit(code)
	}))
}

// makeCertificates fills the variables above and returns a file that holds the
// authority's certificate.
func makeCertificates() (string, error) {
	now := time.Now()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		}
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	root := template(1, "made-up authority")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	leaf := template(2, serverName)
	leaf.DNSNames, leaf.KeyUsage = []string{serverName}, x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, rootKey)
	if err != nil {
		return "", err
	}
	serverCertificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	authority.AppendCertsFromPEM(block)
	file, err := os.CreateTemp("", "authority-*.pem")
	if err != nil {
		return "", err
	}
	if _, err := file.Write(block); err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}
