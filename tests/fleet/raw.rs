//! HTTP by hand, for clients that do not behave.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a server.
pub(crate) async fn connect(server: &Server) -> Result<TcpStream> {
    Ok(TcpStream::connect(("127.0.0.1", server.port())).await?)
}

/// The head of a request to run a program.
pub(crate) fn head(path: &str, body_bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {body_bytes}\r\n\r\n"
    )
}

/// Sends a whole request.
pub(crate) async fn send(connection: &mut TcpStream, path: &str, body: &str) -> Result<()> {
    connection.write_all(format!("{}{body}", head(path, body.len())).as_bytes()).await?;
    Ok(())
}

/// Everything that comes until the server closes.
pub(crate) async fn read_to_end(connection: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let reading = connection.read_to_end(&mut bytes);
    drop(tokio::time::timeout(PATIENCE, reading).await.context("the server does not close")?);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What comes until `text` has come, or the server closes.
pub(crate) async fn read_until(connection: &mut TcpStream, text: &str) -> Result<String> {
    let reading = async {
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains(text) {
            if connection.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .with_context(|| format!("`{text}` does not come"))?
}
