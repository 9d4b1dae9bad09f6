//! Asks a URL once, for `check` and `health`: one connection, one request without any secret, the head
//! of the answer and the beginning of its body.
//!
//! 1. No redirect is followed, nothing of an answer is kept but what [`Answer`] has.
//! 2. The whole of it takes at most as long as the caller allows.

mod judge;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::dial::{Dialer, addressed};
pub use crate::dial::{Trouble, place};
pub use judge::{Verdict, server};

/// How much of an answer's body is read.
const ENOUGH: usize = 4 * 1024;

/// What a URL answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// `Location`, of a redirect.
    pub location: Option<String>,
    /// The media type without parameters, in lower case.
    pub media_type: String,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Sends `request`, whose URI is absolute, and waits for the answer's head, and for its body if
/// `with_body`; both within `patience`. The connection goes to the host and port `at`, if given, instead
/// of the URI's, whose host stays that of `Host` and of the certificate.
///
/// # Errors
/// See [`Trouble`].
pub async fn ask(
    request: Request<Full<Bytes>>,
    at: Option<(&str, u16)>,
    ca_file: Option<&Path>,
    with_body: bool,
    patience: Duration,
) -> Result<Answer, Trouble> {
    let dialer = Dialer::new(request.uri(), at, ca_file)?;
    let whole = timeout(patience, asked(&dialer, request, with_body)).await;
    whole.unwrap_or_else(|_| Err(Trouble::Silent(dialer.place().to_owned(), patience)))
}

async fn asked(
    dialer: &Dialer,
    request: Request<Full<Bytes>>,
    with_body: bool,
) -> Result<Answer, Trouble> {
    let mut sender = dialer.open().await?;
    let answer = sender.send_request(addressed(request)).await;
    let answer = answer.map_err(|error| Trouble::NoHttp(dialer.place().to_owned(), error))?;
    let (head, body) = answer.into_parts();
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = text(CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    Ok(Answer {
        status: head.status,
        location: text(LOCATION).map(str::to_owned),
        media_type: media_type.trim().to_ascii_lowercase(),
        body: if with_body {
            beginning(body).await
        } else {
            Vec::new()
        },
    })
}

/// The first bytes of a body; what breaks off is as good as what ends.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await
        && let Ok(data) = frame.into_data()
    {
        let room = ENOUGH - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if read.len() == ENOUGH {
            break;
        }
    }
    read
}
