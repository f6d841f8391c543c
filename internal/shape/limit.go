package shape

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Direction is one of a stream's two, as its endpoint sees it.
type Direction int

const (
	FromEndpoint Direction = iota
	ToEndpoint
)

const (
	// burstTime is how much may pass at once after a pause, as time at the full
	// rate. It is also how late a timer may be without a loss.
	burstTime = 50 * time.Millisecond

	minBurst = 1500
	maxBurst = 1 << 30

	// maxPiece is what fits a buffer that streams with little to say use too.
	maxPiece = 16 << 10
)

// Limit bounds the bytes a second of all streams that share it, in each direction
// for itself. They take turns, in order. It is safe for concurrent use. A nil Limit bounds
// nothing.
type Limit struct {
	each [2]*lane
}

// lane is one direction. One stream at a time waits for what is due, the others
// for their turn: whoever gives up leaves nothing reserved behind.
type lane struct {
	*rate.Limiter
	turn *semaphore.Weighted
}

// New makes a limit of so many bytes a second; nil for 0.
func New(bytesPerSecond int64) *Limit {
	if bytesPerSecond <= 0 {
		return nil
	}
	l := &Limit{}
	for d := range l.each {
		l.each[d] = &lane{
			rate.NewLimiter(rate.Limit(bytesPerSecond), burst(bytesPerSecond)),
			semaphore.NewWeighted(1),
		}
	}
	return l
}

// burst is what passes within burstTime.
func burst(bytesPerSecond int64) int {
	return int(max(min(bytesPerSecond/int64(time.Second/burstTime), maxBurst), minBurst))
}

// SetRate changes the limit, for streams in progress too, to a rate above 0.
func (l *Limit) SetRate(bytesPerSecond int64) {
	for _, each := range l.each {
		each.SetBurst(burst(bytesPerSecond))
		each.SetLimit(rate.Limit(bytesPerSecond))
	}
}

// Rate is the limit in bytes a second.
func (l *Limit) Rate() int64 { return int64(l.each[FromEndpoint].Limit()) }

// Piece is how much to move at once: half of what may pass at once, so that many
// streams take short turns.
func (l *Limit) Piece() int {
	return min(l.each[FromEndpoint].Burst()/2, maxPiece)
}

// Wait returns when so many bytes are due, or with its error when ctx ends: then
// they are not counted.
func (l *Limit) Wait(ctx context.Context, d Direction, bytes int) error {
	each := l.each[d]
	if err := each.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer each.turn.Release(1)
	for bytes > 0 {
		n := min(bytes, each.Burst())
		if err := each.WaitN(ctx, n); err == nil {
			bytes -= n
		} else if ctx.Err() != nil || each.Burst() >= n { // else the limit has been lowered meanwhile
			return err
		}
	}
	return nil
}

// Take counts bytes that pass at once, unless what has passed before took all
// that was due: then it reports false, and they are not counted.
func (l *Limit) Take(d Direction, bytes int) bool {
	each, now := l.each[d], time.Now()
	if each.TokensAt(now) <= 0 {
		return false
	}
	for bytes > 0 { // what is more than due is owed
		n := min(bytes, each.Burst())
		each.ReserveN(now, n)
		bytes -= n
	}
	return true
}

// Spend counts bytes, at most Piece, that have been moved without waiting. What
// comes next waits for longer.
func (l *Limit) Spend(d Direction, bytes int) {
	each := l.each[d]
	each.ReserveN(time.Now(), min(bytes, each.Burst()))
}
