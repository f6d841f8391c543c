package pool

import (
	"crypto/tls"
	"net"
	"time"
)

// A TLS server may say something to TLS itself at any time: TLS 1.3 sends session
// tickets after the handshake, to clients that keep them, and may change keys. On
// an idle connection of a single-ended pool such bytes are no sign that it is
// broken. Somebody has to read them to tell.

// ticketPause is how long that may take where the socket is out of reach, and how
// long TLS may take to write what it answers: new keys of its own, or an alert. A
// peer that reads nothing must not hold up who asked.
const ticketPause = time.Millisecond

// answerSoon gives TLS that time to write. The deadline is the caller's to clear.
func answerSoon(conn net.Conn) { _ = conn.SetWriteDeadline(time.Now().Add(ticketPause)) }

// mayTellTLS reports whether bytes on the socket may be for TLS alone.
func (e *entry) mayTellTLS() bool {
	_, secured := e.conn.(*tls.Conn)
	return secured && e.own != nil && !e.readElsewhere()
}

// toldTLSOnly has TLS take its share of the unread bytes, and reports whether
// nothing is left. Nobody else may use the connection meanwhile.
func (e *entry) toldTLSOnly() bool {
	if !e.mayTellTLS() {
		return false
	}
	answerSoon(e.conn)
	defer e.conn.SetWriteDeadline(time.Time{})
	if e.bulk != nil {
		return e.bulk.readOwn(e.conn) && probe(e.raw) == livenessQuiet
	}
	if e.conn.SetReadDeadline(time.Now().Add(ticketPause)) != nil {
		return false
	}
	var one [1]byte
	n, err := e.conn.Read(one[:])
	return n == 0 && isTimeout(err) && e.conn.SetReadDeadline(time.Time{}) == nil
}

// hearTLS does it to an idle connection, which nobody gets meanwhile, and closes it
// if something is left. What TLS was told proves nothing of the server behind it:
// when the connection is to be checked stays as it was.
func (p *Pool) hearTLS(it sweepItem) {
	if !p.setAside(it) {
		return
	}
	e := it.entry
	ok := e.toldTLSOnly()
	p.mu.Lock()
	if !ok {
		p.removeLocked(e, ClosedDead)
		p.mu.Unlock()
		e.cut()
		return
	}
	proven := e.provenAt
	if why := p.endCheckLocked(e, nil); why != "" {
		p.partAndUnlock(e)
		return
	}
	e.provenAt = proven
	p.mu.Unlock()
}
