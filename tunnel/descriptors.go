package tunnel

const (
	assumedDescriptors = 1 << 16
	maxDescriptors     = 1 << 24

	// minKept and maxKept bound the share of the descriptors that is kept for
	// everything but users and pooled connections: control connections, the
	// front door, public ports, files. It is a quarter in between.
	minKept = 16
	maxKept = 1 << 14
)

// streamLimit is how many streams the descriptors carry. Each takes two: the
// endpoint's and the pooled connection's.
func streamLimit(descriptors int) int { return max((descriptors-kept(descriptors))/2, 1) }

// handshakeLimit is how many strangers may be at the front door: half of what
// is kept, up to the door's own default.
func handshakeLimit(descriptors int) int { return min(kept(descriptors)/2, 1024) }

// portLimit is how many public ports there may be, and how many clients: a
// quarter of what is kept each.
func portLimit(descriptors int) int { return max(kept(descriptors)/4, 4) }

func kept(descriptors int) int { return min(max(descriptors/4, minKept), maxKept) }
