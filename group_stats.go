package pool

// GroupStats is a group's state and its counters since it was made.
type GroupStats struct {
	// Sum is that of all pools the group ever had. What those did that are gone
	// stays in it, so that its counters never run backwards.
	Sum Stats

	// Keys has the pools that there are now. That of a key which was away begins
	// at 0 again.
	Keys map[string]Stats

	// Open is what counts for GroupConfig.MaxOpen; 0 without that.
	Open int

	// Ended counts the pools that were closed: unused for too long, in the way of
	// new keys, or by Close or Drain.
	Ended uint64
}

// Stats returns what the group's pools are doing and did. Each pool's part is
// consistent in itself; they are taken one after the other.
func (g *Group) Stats() GroupStats {
	g.mu.Lock()
	s := GroupStats{Sum: g.settled.Add(Stats{}), Keys: make(map[string]Stats, len(g.rooms)), Ended: g.gone}
	now := make([]*room, 0, len(g.rooms))
	for _, r := range g.rooms {
		now = append(now, r)
	}
	leaving := make([]*room, 0, len(g.leaving))
	for r := range g.leaving {
		leaving = append(leaving, r)
	}
	g.mu.Unlock()
	// A pool that is settled from here on was not in the sum, and still tells.
	for _, r := range now {
		if p := r.made(); p != nil {
			s.Keys[r.key] = p.Stats()
			s.Sum = s.Sum.Add(s.Keys[r.key])
		}
	}
	for _, r := range leaving {
		if p := r.made(); p != nil {
			last := p.Stats()
			last.Capacity, last.Interval = 0, 0
			s.Sum = s.Sum.Add(last)
		}
	}
	s.Open = g.budget.places()
	return s
}

// made returns the room's pool, or nil if it is not ready.
func (r *room) made() *Pool {
	select {
	case <-r.ready:
		return r.pool
	default:
		return nil
	}
}
