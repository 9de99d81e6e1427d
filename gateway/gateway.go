// Package gateway is the way of a request, and nothing else: it alone knows
// the order in which identity, connectors, masking, policy, approvals,
// evidence and credentials are asked.
package gateway
