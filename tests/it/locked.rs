//! Servers that are locked down: no plain port, mutual TLS with certificates that name no address,
//! no user `default`, and a user of `rejoin`'s own with the least rights.

mod again;
