package tunnel

// ServiceStatus is one service as either end sees it.
type ServiceStatus struct {
	Client string // name of the client that has it
	Name   string // name of the service
	Target string // where it leads; known to the client only
	Addr   string // public address on the server, when up
	UDP    bool   // it is one of UDP
	Up     bool
	Reason string // why it is not up, when known
}
