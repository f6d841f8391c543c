package main

// flagOf names the flag that sets a field of the configuration.
var flagOf = map[string]string{
	"Bind": "--bind", "AllowPorts": "--allow-ports", "AllowForward": "--allow-forward", "AllowFrom": "--allow-from", "PoolMax": "--pool-max",
	"Heartbeat": "--heartbeat", "Wait": "--wait", "Keys": "--key-file", "MaxSessions": "--max-sessions", "MaxStreams": "--max-streams", "MaxStreamsPerService": "--max-streams-per-service", "MaxFlows": "--max-flows",
}
