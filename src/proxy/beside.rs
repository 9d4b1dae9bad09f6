//! Small listeners beside the clients': for probers, and for administrators. HTTP/1.1 on the current runtime.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::keeping::Keeping;
use super::listener::{StartError, bind};
use super::places::{Place, Places};
use super::socket::{Address, Stream};

/// How long a client may take for a request's head, and be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Binds `listen` and serves at most so many connections at once; gives the address bound. `answer` is told
/// where a request comes from, which is nowhere for a Unix socket.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve<A, F, B>(
    listen: &Address,
    places: usize,
    answer: A,
) -> Result<Address, StartError>
where
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (socket, address) = bind(listen).await?;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        let places = Places::new(places);
        loop {
            let Ok(accepted) = socket.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let place = places.take().await;
            let answer = answer.clone();
            match accepted {
                Stream::Tcp(stream, from) => {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        tokio::spawn(connection(stream, place, Some(from), answer));
                    }
                }
                Stream::Unix(stream) => {
                    if let Ok(stream) = UnixStream::from_std(stream) {
                        tokio::spawn(connection(stream, place, None, answer));
                    }
                }
            }
        }
    });
    Ok(address)
}

async fn connection<S, A, F, B>(stream: S, place: Place, from: Option<IpAddr>, answer: Arc<A>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let (answer, busy) = (answer(request, from), place.busy());
        async move { Ok::<_, Infallible>(answer.await.map(|body| Keeping::new(body, busy))) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away is nobody's concern, nor one that others are kept out by.
    tokio::select! {
        _ = served => {}
        () = place.wanted() => {}
    }
}
