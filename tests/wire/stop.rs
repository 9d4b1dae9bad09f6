//! SIGTERM: what is under way finishes.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use crate::support::{Backend, CALL, House, Next, chunked, json_answer, stream_head, wait_until};

/// Ends the house's listening; returns once nothing can connect any more.
fn stop(house: &House) {
    house.terminate();
    wait_until("the listener is gone", || {
        TcpStream::connect(house.address).is_err()
    });
}

#[test]
fn with_nothing_under_way_it_ends_at_once_and_well() {
    let backend = Backend::simple();
    let mut house = House::before(&backend);
    let mut idle = house.connect();
    idle.ask(&house.post(CALL)).unwrap();
    let begun = std::time::Instant::now();
    house.terminate();
    assert_eq!(house.exit_code(), Some(0));
    assert!(
        begun.elapsed().as_secs() < 4,
        "an idle connection holds nothing up"
    );
    assert!(idle.is_over());
}

#[test]
fn requests_under_way_finish() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |request, stream| {
        if request.body == CALL.as_bytes() {
            wait.lock().unwrap().recv().unwrap();
            stream.write_all(&json_answer("{}")).unwrap();
        } else {
            stream.write_all(&stream_head("")).unwrap();
            stream.write_all(&chunked("data: 1\n\n")).unwrap();
            wait.lock().unwrap().recv().unwrap();
            stream.write_all(&chunked("data: 2\n\n")).unwrap();
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        Next::Keep
    });
    let mut house = House::before(&backend);
    let (mut plain, mut stream) = (house.connect(), house.connect());
    plain.send(&house.post(CALL));
    stream.send(&house.post(CALL.replace('7', "8")));
    let head = stream.head().unwrap();
    stream.chunk().unwrap().unwrap();
    wait_until("both arrive", || backend.count() == 2);
    stop(&house);
    go.send(()).unwrap();
    go.send(()).unwrap();
    let answer = plain.answer().unwrap();
    assert_eq!((answer.status(), answer.text()), (200, "{}"));
    assert_eq!(stream.body(&head).unwrap(), b"data: 2\n\n");
    assert_eq!(house.exit_code(), Some(0));
}

#[test]
fn a_stream_without_end_is_ended_when_the_time_is_nearly_up() {
    let (_keep, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |_, stream| {
        stream.write_all(&stream_head("")).unwrap();
        let _ = wait.lock().unwrap().recv();
        Next::Close
    });
    let mut house = House::before(&backend);
    let mut client = house.connect();
    client.send(&house.post(CALL));
    client.head().unwrap();
    house.terminate();
    assert_eq!(house.exit_code(), Some(0));
    assert!(
        matches!(client.chunk(), Ok(None)),
        "it ends, and is not cut"
    );
}
