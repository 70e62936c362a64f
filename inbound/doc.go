// Package inbound analyses a domain as a receiver of mail.
package inbound
