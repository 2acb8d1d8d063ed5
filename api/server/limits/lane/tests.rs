//! What must hold in every order of arrivals, ends and cancellations.

use proptest::prelude::*;

use super::*;

const SEATS: Seats = Seats { total: 4, contended: 2, queue: 6, queues: 14 };

#[derive(Clone, Debug)]
enum Step {
    Arrive {
        client: u64,
        connection: u64,
        cost: u64,
    },
    /// Some request that is at work ends.
    Leave(usize),
    /// Some request that waits gives up.
    Cancel(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u64, 0..3_u64, 1..9_u64)
            .prop_map(|(client, connection, cost)| Step::Arrive { client, connection, cost }),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Cancel),
    ]
}

proptest! {
    #[test]
    fn seats_and_queues_are_bounded_and_nothing_is_lost(
        steps in prop::collection::vec(step(), 1..200),
        contended in any::<bool>(),
    ) {
        let mut lane = Lane::new(SEATS);
        let mut running: Vec<u64> = Vec::new();
        let mut waiting: Vec<(u64, Asker)> = Vec::new();
        let share = if contended { SEATS.contended } else { SEATS.total };
        for step in steps {
            match step {
                Step::Arrive { client, connection, cost } => {
                    let asker = Asker { client, connection };
                    let mine = waiting.iter().filter(|(_, a)| a.client == client).count();
                    let number = lane.next;
                    match lane.arrive(asker, cost, contended, || number) {
                        Arrival::Seated => running.push(client),
                        Arrival::Queued(number) => waiting.push((number, asker)),
                        Arrival::Refused => {
                            prop_assert!(mine == SEATS.queue || waiting.len() == SEATS.queues);
                        }
                    }
                }
                Step::Leave(which) if !running.is_empty() => {
                    let client = running.swap_remove(which % running.len());
                    lane.leave(client);
                }
                Step::Cancel(which) if !waiting.is_empty() => {
                    let (number, asker) = waiting.remove(which % waiting.len());
                    prop_assert!(lane.cancel(asker, number));
                    prop_assert!(!lane.cancel(asker, number));
                }
                _ => {}
            }
            while let Some((client, number)) = lane.seat(contended) {
                let at = waiting.iter().position(|(n, _)| *n == number);
                let at = at.expect("only what waits is seated");
                let (_, asker) = waiting.remove(at);
                prop_assert_eq!(asker.client, client);
                // The oldest of its connection.
                prop_assert!(waiting.iter().all(|(n, a)| *a != asker || *n > number));
                running.push(client);
            }
            prop_assert_eq!(lane.running(), running.len());
            prop_assert_eq!(lane.queued(), waiting.len());
            prop_assert!(running.len() <= SEATS.total && waiting.len() <= SEATS.queues);
            for client in 0..4 {
                let at_work = running.iter().filter(|c| **c == client).count();
                let queued = waiting.iter().filter(|(_, a)| a.client == client).count();
                prop_assert_eq!(lane.of(client), (at_work, queued));
                prop_assert!(at_work <= share);
                // Work-conserving: nobody waits for a seat that is free and allowed.
                prop_assert!(queued == 0 || at_work == share || running.len() == SEATS.total);
            }
        }
        // Everything that waits is served in the end.
        while !running.is_empty() {
            lane.leave(running.swap_remove(0));
            while let Some((client, number)) = lane.seat(contended) {
                waiting.retain(|(n, _)| *n != number);
                running.push(client);
            }
        }
        prop_assert!(waiting.is_empty(), "starved: {waiting:?}");
    }

    /// Whatever a flood has queued, a client that comes new is next, and two that wait take turns.
    #[test]
    fn a_flood_delays_another_client_by_no_more_than_a_turn(flood in 1..200_u64, cost in 1..50_u64) {
        let seats = Seats { total: 1, contended: 1, queue: 1000, queues: 10_000 };
        let mut lane = Lane::new(seats);
        for connection in 0..=flood {
            lane.arrive(Asker { client: 1, connection }, cost, true, || 1);
        }
        for _ in 0..flood / 2 {
            lane.leave(1);
            prop_assert_eq!(lane.seat(true), Some((1, 1)));
        }
        let arrival = lane.arrive(Asker { client: 2, connection: 999 }, cost, true, || 2);
        prop_assert!(matches!(arrival, Arrival::Queued(_)));
        lane.leave(1);
        prop_assert_eq!(lane.seat(true), Some((2, 2)));
    }
}

#[test]
fn a_dear_client_gets_as_much_as_a_cheap_one_and_not_as_many() {
    let seats = Seats { total: 1, contended: 1, queue: 1000, queues: 10_000 };
    let mut lane = Lane::new(seats);
    let mut last = 0;
    lane.arrive(Asker { client: 0, connection: 0 }, 1, true, || 0);
    for _ in 0..200 {
        lane.arrive(Asker { client: 1, connection: 1 }, 1, true, || 1);
        lane.arrive(Asker { client: 2, connection: 2 }, 10, true, || 2);
    }
    let mut seen = [0_u32; 3];
    for _ in 0..110 {
        lane.leave(last);
        let (client, ticket) = lane.seat(true).unwrap();
        last = client;
        seen[ticket] += 1;
    }
    assert!((95..=105).contains(&seen[1]) && (8..=12).contains(&seen[2]), "{seen:?}");
}

#[test]
fn connections_of_one_client_take_turns() {
    let seats = Seats { total: 1, contended: 1, queue: 1000, queues: 10_000 };
    let mut lane = Lane::new(seats);
    lane.arrive(Asker { client: 1, connection: 0 }, 1, false, || 0);
    for _ in 0..50 {
        lane.arrive(Asker { client: 1, connection: 7 }, 1, false, || 7);
    }
    lane.arrive(Asker { client: 1, connection: 8 }, 1, false, || 8);
    let mut order = Vec::new();
    for _ in 0..3 {
        lane.leave(1);
        order.extend(lane.seat(false).map(|(_, ticket)| ticket));
    }
    assert!(order.contains(&8), "{order:?}");
}
