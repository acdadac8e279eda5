//! The exec probes, and the fetching side of `rejoin status`: one small HTTP request, no runtime.
