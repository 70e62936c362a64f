// Package network names the network that an address belongs to.
package network
