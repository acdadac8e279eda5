//! The commands of the documents, held against what is applied: a new user has nothing but them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::manifests::{Objects, output_of, own, render};

/// The pages whose commands are about the manifests as they are.
const PAGES: [&str; 4] =
    ["README.md", "docs/kubernetes.md", "docs/operations.md", "docs/troubleshooting.md"];

/// The commands of a page, those of its blocks and those in its text, without comments.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(own(page)).expect("it is there").replace("\\\n", " ");
    let mut commands = Vec::new();
    for piece in text.split('`') {
        if let Some(block) = piece.strip_prefix("sh\n") {
            let lines = block.lines().map(|line| line.split(" #").next().unwrap_or_default());
            commands.extend(lines.map(|line| line.trim().to_owned()));
        } else if piece.starts_with("kubectl ") || piece.starts_with("docker ") {
            commands.push(piece.replace('\n', " "));
        }
    }
    commands
}

/// The words of a command behind this one, each time that it has it: also in a function of a shell.
fn behind<'a>(command: &'a str, word: &str) -> Vec<Vec<&'a str>> {
    let bare = |word: &'a str| word.trim_matches(&['"', '\'', ')', ';'][..]);
    command.split(word).skip(1).map(|rest| rest.split_whitespace().map(bare).collect()).collect()
}

#[test]
fn three_commands_build_load_and_apply_one_image() {
    let dockerfile = fs::read_to_string(own("Dockerfile")).expect("it is there");
    for page in ["README.md", "docs/kubernetes.md"] {
        let text = fs::read_to_string(own(page)).expect("it is there");
        let (_, block) = text.split_once("```sh\ndocker build").expect("it has them");
        let (block, _) = block.split_once("\n```").expect("the block ends");
        let lines: Vec<&str> = block.lines().collect();
        let [build, load, apply] = lines[..] else { panic!("{page}: not three: {lines:?}") };
        let words = |line: &str| -> Vec<String> {
            let command = line.split(" #").next().unwrap_or_default();
            command.split_whitespace().map(str::to_owned).collect()
        };
        let (build, [.., loaded]) = (words(build), &words(load)[..]) else { panic!("{load}") };
        let [.., dir] = &words(apply)[..] else { panic!("{apply}") };
        let [t, built, context] = &build[..] else { panic!("{page}: {build:?}") };
        assert_eq!((t.as_str(), context.as_str()), ("-t", "."), "{page}");
        assert_eq!(loaded, built, "{page}");
        // As the page says it, and as the tag does.
        let base = dockerfile.lines().find_map(|line| line.strip_prefix("ARG SERVER_IMAGE="));
        let base = base.expect("it has a default");
        assert!(block.contains(&format!("# {base} with rejoin in it")), "{page}: not {base}");
        assert_eq!(built.rsplit(':').next(), base.rsplit(':').next(), "{page}");

        let Some(yaml) = render(&own(dir)) else { return };
        let objects = Objects::read(&yaml);
        let pod = &objects.spec("StatefulSet", "redis")["template"]["spec"];
        assert!(pod["initContainers"].is_null(), "{page}: one more image");
        let [container] = &pod["containers"].as_array().expect("containers")[..] else {
            panic!("{page}: more than one image")
        };
        assert_eq!(container["image"], built.as_str(), "{page}");
        // There is no registry to ask.
        assert_eq!(container["imagePullPolicy"], "IfNotPresent", "{page}");
    }
}

/// What the commands of the documents may name.
struct Named {
    set: Value,
    secrets: Vec<String>,
    help: String,
    dockerfile: String,
}

impl Named {
    /// `None`: there is no `kubectl` here.
    fn new() -> Option<Self> {
        // With all that the others have, and Secrets.
        let objects = Objects::read(&render(&own("k8s/overlays/locked-down"))?);
        let set = objects.named("StatefulSet", "redis").clone();
        let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
        let secrets = volumes.iter().filter_map(|it| it["secret"]["secretName"].as_str());
        let secrets = secrets.map(str::to_owned).collect();
        let help = output_of(Command::new(env!("CARGO_BIN_EXE_rejoin")).arg("--help"));
        let dockerfile = fs::read_to_string(own("Dockerfile")).expect("it is there");
        Some(Self { set, secrets, help, dockerfile })
    }

    fn is_set(&self, name: &str) -> bool {
        self.set["metadata"]["name"] == name
    }

    /// A pod, or what stands for one.
    fn is_pod(&self, name: &str) -> bool {
        let Some((set, number)) = name.rsplit_once('-') else { return name == "POD" };
        self.is_set(set) && (["$1", "$n"].contains(&number) || number.parse::<u8>().is_ok())
    }

    /// What `kubectl` is asked for is there.
    fn has(&self, words: &[&str]) -> bool {
        match words {
            ["apply" | "delete", "-k", dir, ..] => render(&own(dir)).is_some(),
            ["apply", "-f", "-"] => true,
            ["rollout", "status" | "restart", "statefulset", set] => self.is_set(set),
            ["rollout", "status", set] => {
                set.strip_prefix("statefulset/").is_some_and(|set| self.is_set(set))
            }
            ["exec", "-it", rest @ ..] => self.has(&[&["exec"], rest].concat()),
            ["exec", pod, "--", "rejoin" | "/opt/rejoin/rejoin", command, ..] => {
                self.is_pod(pod) && self.help.contains(&format!("\n  {command} "))
            }
            ["exec", pod, "--", "redis-cli", ..] | ["get", "pod", pod, ..] => self.is_pod(pod),
            ["logs", pod] => self.is_pod(pod),
            ["get" | "patch", "secret", name, ..] => self.secrets.iter().any(|it| it == name),
            ["delete", "pvc", "-l", label] => {
                let claim = &self.set["spec"]["volumeClaimTemplates"][0]["metadata"];
                let (name, value) = label.split_once('=').expect("a label");
                claim["labels"][name] == value
            }
            // About any cluster, or named only.
            ["get", "storageclass" | "endpointslices"] | ["scale", "--replicas", "0"] => true,
            ["describe", "pod"] => true,
            [word] => ["drain", "exec", "logs", "debug"].contains(word),
            _ => false,
        }
    }

    /// The Dockerfile has the arguments and the target that are named.
    fn builds(&self, words: &[&str]) -> bool {
        let pairs = words.iter().zip(words.iter().skip(1));
        pairs.into_iter().all(|(flag, value)| match *flag {
            "--build-arg" => {
                let name = value.split('=').next().unwrap_or_default();
                self.dockerfile.contains(&format!("\nARG {name}="))
            }
            "--target" => self.dockerfile.contains(&format!(" AS {value}\n")),
            _ => true,
        })
    }
}

#[test]
fn commands_of_the_documents_name_what_is_there() {
    let Some(named) = Named::new() else { return };
    let mut count = 0;
    for page in PAGES {
        for command in commands(page) {
            for words in behind(&command, "kubectl ") {
                let end = words.iter().position(|word| ["|", ">"].contains(word));
                let words = &words[..end.unwrap_or(words.len())];
                assert!(named.has(words), "{page}: kubectl {words:?} in {command:?}");
                count += 1;
            }
            for words in behind(&command, "docker build ") {
                assert!(named.builds(&words), "{page}: {command:?}");
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} commands");
}
