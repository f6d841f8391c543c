// Package tunnelmetrics shows a tunnel-server or tunnel-client to Prometheus.
//
// Names of clients and services are labels, and clients choose them. How many
// there can be at a time is bounded: by the sessions a server takes
// (--max-sessions), times the services that a client may have, and by maxListed.
// Those with the same names are summed up.
package tunnelmetrics

import "github.com/prometheus/client_golang/prometheus"

// Labels of services and forwards: kind is "service" or "forward".
var serviceLabels = []string{"client", "kind", "service", "network"}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tunnelpool_"+name, help, labels, nil)
}

// Of both programs.
var (
	buildInfo   = desc("build_info", "1; the labels tell which program this is.", "program", "version")
	ready       = desc("ready", "1 if /readyz says so, else 0.")
	sessions    = desc("sessions", "Sessions: clients of a server; 1 or 0 of a client.")
	roundTrip   = desc("session_round_trip_seconds", "Median round trip of the session's last few signs of life.", "client")
	sessionOpen = desc("session_open_streams", "Users being served or offered on the session.", "client")
	carriers    = desc("session_carriers", "Connections of the session that carry many users.", "client")
	usersOpen   = desc("open_users", "Users being served or waiting.")
	streams     = desc("streams_total", "Streams opened for users, those of users offered again included.")
	retries     = desc("handoff_retries_total", "Times a user was offered on a further connection, because one before was dead.")
	dropped     = desc("dropped_datagrams_total", "Datagrams of UDP that did not get on.")
	unlisted    = desc("unlisted_services", "Services and forwards without metrics of their own, because there are too many.")

	serviceUp        = desc("service_up", "1 if users can be served, else 0.", serviceLabels...)
	serviceOpen      = desc("service_open_streams", "Users being served or offered.", serviceLabels...)
	serviceStreams   = desc("service_streams_total", "Streams opened, those of users offered again included.", serviceLabels...)
	serviceRetries   = desc("service_handoff_retries_total", "Of those, the ones on a further connection.", serviceLabels...)
	serviceFromUsers = desc("service_from_users_bytes_total", "Bytes that users sent, as they pass.", serviceLabels...)
	serviceToUsers   = desc("service_to_users_bytes_total", "Bytes that users received, as they pass.", serviceLabels...)
	serviceFirst     = desc("service_first_byte_seconds", "Time from a user's arrival to the first byte that goes back, where users come.", serviceLabels...)
)

var both = []*prometheus.Desc{
	buildInfo, ready, sessions, roundTrip, sessionOpen, carriers, usersOpen, streams, retries, dropped, unlisted,
	serviceUp, serviceOpen, serviceStreams, serviceRetries, serviceFromUsers, serviceToUsers, serviceFirst,
}

// Of a server.
var (
	usersWaiting = desc("waiting_users", "Users who wait for a connection, or for their client.")
	usersLost    = desc("lost_users_total", "Users who were not served, by reason.", "reason")
	carried      = desc("carried_streams_total", "Streams that went on a carrier, because no connection was idle.")
	asked        = desc("handoff_questions_total", "Times an acknowledgement was late and the client was asked.")
	forwarded    = desc("forwarded_users_total", "Users of forwards whose target was dialed.")
	handshakes   = desc("door_handshakes", "Connections between accept and the proof of their key.")
	accepted     = desc("door_accepted_total", "Connections that proved their key.")
	refused      = desc("door_rejected_total", "Connections that did not, by reason.", "reason")
)

var serverOnly = []*prometheus.Desc{usersWaiting, usersLost, carried, asked, forwarded, handshakes, accepted, refused}

// Of a client.
var (
	unreached = desc("unreached_targets_total", "Users whose target could not be reached, or was not dialed for want of room.")
	unstarted = desc("unstarted_streams_total", "Streams that the server announced and that did not begin.")
)

var clientOnly = []*prometheus.Desc{unreached, unstarted}
