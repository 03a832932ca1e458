//! Trades that are recorded once, whoever tries how often.

use id::trade::{Recorded, Trade, TradeError};

const TRADE: Trade<'static> = Trade { order_id: 7, key: "NYSE:1", payload: "buy 5" };

/// What each database's `record` must do; `record` tells whether it was new, and the order id.
pub(crate) fn records_once(mut record: impl FnMut(Trade<'_>) -> Result<Recorded, TradeError>) {
    assert_eq!(record(TRADE).unwrap(), Recorded::New { order_id: 7 });
    // The answer was lost, and the retry has another id.
    let again = record(Trade { order_id: 8, ..TRADE }).unwrap();
    assert_eq!(again, Recorded::Before { order_id: 7 });
    // With the same id, too.
    assert_eq!(record(TRADE).unwrap().order_id(), 7);
    let other = record(Trade { order_id: 9, payload: "sell 5", ..TRADE }).unwrap_err();
    assert!(matches!(&other, TradeError::KeyReused { key } if key == "NYSE:1"), "{other}");
    let taken = record(Trade { key: "NYSE:2", ..TRADE }).unwrap_err();
    assert!(matches!(taken, TradeError::OrderIdTaken { order_id: 7 }), "{taken}");
    assert!(!taken.is_retried());
    let next = record(Trade { order_id: 8, key: "NYSE:2", ..TRADE }).unwrap();
    assert_eq!(next, Recorded::New { order_id: 8 });
}

/// Writers that send every trade several times, all at once: one row a trade, one id a trade.
pub(crate) fn records_once_under_racing<R>(open: &(dyn Fn() -> R + Sync))
where
    R: FnMut(Trade<'_>) -> Result<Recorded, TradeError>,
{
    let play = |writer: i64| {
        let mut record = open();
        let mut ids = Vec::new();
        for number in 0..60_i64 {
            let key = format!("race {number}");
            let order_id = 1_000 + number * 10 + writer;
            let mut tries = 0;
            ids.push(loop {
                match record(Trade { order_id, key: &key, payload: "x" }) {
                    Ok(recorded) => break recorded.order_id(),
                    Err(error) if error.is_retried() && tries < 50 => tries += 1,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        ids
    };
    let answers: Vec<Vec<i64>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || play(writer))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_trade_is_recorded_once_in_sqlite() {
    use id::trade::sqlite::{TABLE, record};
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let connection = rusqlite::Connection::open(folder.path().join("trades.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection.execute_batch(TABLE).unwrap();
        connection
    };
    let mut connection = open();
    records_once(|trade| record(&mut connection, &trade));
    records_once_under_racing(&|| {
        let mut connection = open();
        move |trade: Trade<'_>| record(&mut connection, &trade)
    });
}
