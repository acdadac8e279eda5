//! What a server looks like in a number, so that nothing is planned anew while nothing changes; and
//! what everything looks like in words, for whoever reads a failure.

use super::server::{Claim, Life, Server};
use super::world::{Dns, World};

/// FNV-1a over whole numbers.
struct Print(u64);

impl Print {
    fn add(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }

    fn claim(&mut self, claim: Claim) {
        let master = claim.master.map_or(0, |id| u64::from(id) + 1);
        self.add(
            u64::from(claim.replica)
                | u64::from(claim.slots) << 1
                | master << 16
                | u64::from(claim.epoch) << 32,
        );
    }
}

fn print(server: &Server) -> u64 {
    let mut print = Print(0xcbf2_9ce4_8422_2325);
    let life = match server.life {
        Life::Gone(_) => 0,
        Life::Down(_) => 1,
        Life::Loading(_) => 2,
        Life::Up => 3,
    };
    let host = server.host.map_or(0, |ip| u64::from(ip) + 1);
    let keys = server.data.iter().fold(0, |keys, one| keys << 1 | u64::from(*one > 0));
    print.add(u64::from(server.id) | u64::from(server.ip) << 16 | host << 32);
    print.add(life | u64::from(server.paused) << 8 | u64::from(server.link_up) << 9 | keys << 10);
    print.add(server.stream);
    print.add(u64::from(server.nofailover));
    print.claim(server.me);
    for line in &server.table {
        let ip = line.ip.map_or(0, |ip| u64::from(ip) + 1);
        let flags = u64::from(line.connected)
            | u64::from(line.pfail) << 1
            | u64::from(line.fail.is_some()) << 2;
        print.add(u64::from(line.id) | ip << 16 | flags << 40);
        print.claim(line.claim);
    }
    print.0
}

impl World {
    /// Each server, and everything together.
    pub fn prints(&self) -> (Vec<u64>, u64) {
        let prints: Vec<u64> = self.servers.iter().map(print).collect();
        let mut whole = Print(u64::from(self.cut));
        prints.iter().for_each(|print| whole.add(*print));
        self.side.iter().for_each(|side| whole.add(u64::from(*side)));
        for dns in &self.dns {
            whole.add(match dns {
                Dns::Current => 0,
                Dns::Failing => 1,
                Dns::Stale(back) => 100 + *back as u64,
                Dns::Missing(nth) => 200 + *nth as u64,
            });
        }
        self.teams.iter().for_each(|team| whole.add(team.names.len() as u64));
        (prints, whole.0)
    }

    /// All servers, and what each keeper last planned.
    pub fn plans(&self) -> String {
        let mut text = String::new();
        for (at, server) in self.servers.iter().enumerate() {
            text += &format!(
                "{} {:?} me {:?} host {:?} link {} synced {:?} data {:?}\n",
                self.name(at),
                server.life,
                server.me,
                server.host.map(|ip| &self.texts[ip as usize]),
                server.link_up,
                server.last_synced,
                server.data,
            );
            for line in &server.table {
                text += &format!(
                    "    id {} ip {:?} {:?} connected {} pfail {} fail {:?}\n",
                    line.id,
                    line.ip.map(|ip| &self.texts[ip as usize]),
                    line.claim,
                    line.connected,
                    line.pfail,
                    line.fail,
                );
            }
            for plan in self.agents[at].iter().filter_map(|agent| agent.last.as_ref()) {
                text += &format!("    steps {:?}\n", plan.steps);
                text += &format!("    settled {} {:?}\n", plan.settled, plan.membership);
                plan.held.iter().for_each(|hold| text += &format!("    held: {hold}\n"));
            }
        }
        text
    }
}
