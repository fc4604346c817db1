//! Several who type into one run, and whoever does not take what it says.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::Server;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use crate::checks::{eventually, same};
use crate::interactive::{ECHO, FLOODS, WAITS};
use crate::viewer::{Viewer, begin, get, interactive, join, place, report, see_the_rest};

/// Nothing takes longer, but for what waits on purpose.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who takes no events is no viewer for ever.
pub(crate) async fn stuck(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(&format!("{FLOODS}\ninput()"))).await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stuck = socket.connect(([127, 0, 0, 1], server.port()).into()).await?;
    let path = place(&run, "events", "viewTicket");
    stuck.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let viewers = async || {
        let run = get(server, &place(&run, "self", "ticket")).await;
        run.body["viewers"].as_u64()
    };
    eventually("it is a viewer", PATIENCE, async || viewers().await == Some(1)).await?;
    eventually("it is none any more", PATIENCE, async || viewers().await == Some(0)).await?;
    let mut viewer = join(server, &run).await?;
    viewer.say(json!({"t": "eof"})).await?;
    see_the_rest(server, &place(&run, "ws", "viewTicket"), &mut Vec::new()).await
}

/// A program that reads nothing takes so much and no more.
pub(crate) async fn full(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(WAITS)).await?;
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("ready").await?;
    let much = "x".repeat(60 << 10);
    let mut taken = 0;
    loop {
        viewer.type_in(&much).await?;
        let answer = loop {
            match viewer.next().await? {
                Some(it) if it["t"] == "accepted" || it["t"] == "stdin_full" => break it,
                Some(_) => {}
                None => anyhow::bail!("it is closed ({:?})", viewer.closed),
            }
        };
        if answer["t"] == "stdin_full" {
            same("what was taken", &answer["bytes"], &json!(taken))?;
            break;
        }
        taken += much.len();
        same("what was taken", &answer["bytes"], &json!(taken))?;
        ensure!(taken < 1 << 20, "a program that reads nothing takes {taken} bytes");
    }
    viewer.say(json!({"t": "signal", "name": "KILL"})).await?;
    let ended = report(&mut viewer).await?;
    same("the status", &ended["status"], &json!("runtime_error"))?;
    same("the signal", &ended["signal"], &json!("SIGKILL"))
}

/// What two type who have names of their own comes once, whatever they say again.
pub(crate) async fn typists(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(ECHO[0].1)).await?;
    let path = format!("{}&name=ann", place(&run, "ws", "ticket"));
    let (mut ann, mut ben) = (Viewer::open(server, &path).await?, join(server, &run).await?);
    let typed = |data: &str, typist: &str, from: u64| json!({"t": "stdin", "data": data, "typist": typist, "from": from});
    for (is_ann, data, from, taken) in [
        (true, "ab", 0, 2),
        (false, "c\n", 0, 2),
        (true, "abd\n", 0, 4),
        (false, "c\n", 0, 2),
        (true, "d\n", 2, 4),
    ] {
        let (viewer, who) = if is_ann { (&mut ann, "ann") } else { (&mut ben, "ben") };
        viewer.say(typed(data, who, from)).await?;
        same("what was taken", &viewer.until("accepted").await?["bytes"], &json!(taken))?;
    }
    ann.say(typed("x", "", 0)).await?;
    same("no name", &ann.until("error").await?["code"], &json!("bad_message"))?;
    ben.say(json!({"t": "eof"})).await?;
    let expected = "ready\ngot abc\ngot d\nend\n";
    same("the output", &report(&mut ben).await?["output"], &json!(expected))?;
    same("what is shown of it", &ben.printed("stdin"), &"abd\n".to_owned())
}
