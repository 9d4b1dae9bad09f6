//! A backend that keeps no rule of HTTP but to use only the credential it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::backend::{body, head, value};
use super::echo::message;
use super::{Chance, fingerprint};

/// What it does to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    None,
    /// The same answer once more, 0.05 to 1 ms after the first.
    Late,
    /// The same answer twice in one segment.
    Twice,
    /// The answer before the body of the request was read.
    Early,
    /// Fifty interim answers first.
    Interim,
    /// The answer to another id.
    WrongId,
    /// An error, and the connection stays.
    Failing,
    /// A refusal, and the connection stays.
    Refusing,
    /// Half an answer, and the connection ends.
    Half,
    /// A chunked answer, and more after its end, a little later.
    AfterChunks,
}

pub(crate) const TRICKS: [Trick; 10] = [
    Trick::None,
    Trick::Late,
    Trick::Twice,
    Trick::Early,
    Trick::Interim,
    Trick::WrongId,
    Trick::Failing,
    Trick::Refusing,
    Trick::Half,
    Trick::AfterChunks,
];

/// Starts one that plays these tricks, by chance; its URL, and how often it sent too much.
pub(crate) async fn start(tricks: &'static [Trick]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let surplus = Arc::new(AtomicUsize::new(0));
    let counter = surplus.clone();
    tokio::spawn(async move {
        let mut seed = 0;
        while let Ok((stream, _)) = listener.accept().await {
            seed += 1;
            stream.set_nodelay(true).unwrap();
            tokio::spawn(play(stream, tricks, Chance::new(seed), counter.clone()));
        }
    });
    (url, surplus)
}

async fn play(
    mut stream: TcpStream,
    tricks: &'static [Trick],
    mut chance: Chance,
    surplus: Arc<AtomicUsize>,
) -> Option<()> {
    let mut buffer = Vec::new();
    let mut first = None;
    loop {
        let head = head(&mut stream, &mut buffer).await?;
        let trick = tricks[chance.below(tricks.len() as u64) as usize];
        let credential = value(&head, "authorization").unwrap_or_default();
        let credential = credential.strip_prefix("Bearer ").unwrap_or_default();
        let nonce = value(&head, "mcp-param-nonce").unwrap_or_default();
        let own = fingerprint(credential.as_bytes());
        let first = first.get_or_insert_with(|| own.clone());
        let answer = |id: &Value| {
            let seen = [("header", &own), ("connection", &*first)];
            let seen = seen.map(|(place, fingerprint)| (place.to_owned(), json!(fingerprint)));
            message(&own, id, nonce, seen.into_iter().collect()).to_string()
        };
        if trick == Trick::Early {
            // Which id it will be cannot be known yet.
            write(&mut stream, &http("200 OK", &answer(&json!(0)))).await?;
        }
        let call = body(&mut stream, &mut buffer, &head).await?;
        let call: Value = serde_json::from_str(&call).unwrap_or_default();
        let id = &call["id"];
        let whole = http("200 OK", &answer(id));
        // The surplus answer is made to fit the user's next request as well as can be.
        let next = http("200 OK", &answer(&json!(id.as_u64().unwrap_or(0) + 1)));
        match trick {
            Trick::Early => {}
            Trick::None => write(&mut stream, &whole).await?,
            Trick::Late => {
                write(&mut stream, &whole).await?;
                pause(&mut chance).await;
                surplus.fetch_add(1, Ordering::Relaxed);
                write(&mut stream, &next).await?;
            }
            Trick::Twice => {
                surplus.fetch_add(1, Ordering::Relaxed);
                write(&mut stream, &format!("{whole}{next}")).await?;
            }
            Trick::Interim => {
                let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(50);
                write(&mut stream, &interim).await?;
                write(&mut stream, &whole).await?;
            }
            Trick::WrongId => write(&mut stream, &http("200 OK", &answer(&json!(987_654)))).await?,
            Trick::Failing => {
                let failing = http("500 Internal Server Error", &answer(id));
                write(&mut stream, &failing).await?;
            }
            Trick::Refusing => {
                write(&mut stream, &http("401 Unauthorized", &answer(id))).await?;
            }
            Trick::Half => {
                write(&mut stream, &whole[..whole.len() - 20]).await?;
                return None;
            }
            Trick::AfterChunks => {
                let chunk = answer(id);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                let chunked = format!("{head}{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
                write(&mut stream, &chunked).await?;
                pause(&mut chance).await;
                surplus.fetch_add(1, Ordering::Relaxed);
                write(&mut stream, &next).await?;
            }
        }
    }
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn write(stream: &mut TcpStream, text: &str) -> Option<()> {
    stream.write_all(text.as_bytes()).await.ok()
}

/// 0.05 to 1 ms, finer than the runtime's timer.
async fn pause(chance: &mut Chance) {
    let until = Instant::now() + Duration::from_micros(50 + chance.below(950));
    while Instant::now() < until {
        tokio::task::yield_now().await;
    }
}
