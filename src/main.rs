//! TEMPORARY runner
#![allow(clippy::disallowed_methods)]
use rejoin::*;
use std::time::Instant;
fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let env = |k: &str| std::env::var(k).ok();
    let ip: std::net::IpAddr = env("POD_IP").unwrap().parse().unwrap();
    let port: u16 = 7000;
    let name = env("POD_NAME").unwrap();
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let mut child = std::process::Command::new(&args[0])
        .args(&args[1..])
        .args(["--cluster-announce-ip", &ip.to_string()])
        .spawn()
        .unwrap();
    let mut server = config::server::ServerConfig::defaults(std::path::Path::new("/tmp"));
    server.cluster_enabled = true;
    server.port = port;
    let peers = env("REJOIN_PEERS")
        .unwrap()
        .split(',')
        .map(|h| config::peers::Peer {
            host: config::peers::Host::Ip(h.parse().unwrap()),
            port: None,
        })
        .collect();
    let config = config::Config {
        pod_ip: Some(ip),
        pod: config::pod::PodName {
            ordinal: name.rsplit('-').next().unwrap().parse().ok(),
            base: "x".into(),
            name: name.clone(),
        },
        shape: env("REJOIN_SHARDS").map(|s| config::shape::Shape {
            shards: s.parse().unwrap(),
            replicas: env("REJOIN_REPLICAS").map_or(1, |r| r.parse().unwrap()),
        }),
        peers: Some(config::peers::Peers::List(peers)),
        http: Default::default(),
        handover_timeout: config::HANDOVER_TIMEOUT,
        login: Default::default(),
        log: Default::default(),
    };
    let board = board::Board::new(&name, "start");
    board.set_phase(health::Phase::Running(Instant::now()));
    let listener = std::net::TcpListener::bind((ip, 8080)).unwrap();
    listener.set_nonblocking(true).unwrap();
    agent::Agent {
        config,
        server,
        own_at: agent::endpoints(&[ip], port),
        board,
        metrics: Default::default(),
        listener,
    }
    .start()
    .unwrap();
    child.wait().unwrap();
}
