//! What chance would seldom bring about, begun from wherever chance led.

use super::*;

impl World {
    /// Asks, and is answered.
    pub(super) async fn visit(&mut self, user: usize) {
        self.ask(user, false);
        breathe().await;
        self.answer_all().await;
    }

    pub(super) async fn overtaken(&mut self, user: usize, up: bool) {
        self.push(Pushed::Up);
        breathe().await;
        self.ask(user, false);
        breathe().await;
        let count = self.script.stage().pending.len();
        (0..count).for_each(|n| self.with_read(n, |stage, n| stage.look(n)));
        self.revoke(user).await;
        if up {
            self.push(Pushed::Up);
        } else {
            self.alive().await;
        }
        breathe().await;
        self.visit(user).await;
    }

    pub(super) async fn lost(&mut self, user: usize, gone: bool) {
        self.visit(user).await;
        if gone {
            let _ = self.vault.delete_user(&self.players[user].name).await;
        } else {
            self.disable(user, true).await;
        }
        self.alive().await;
        self.visit(user).await;
        self.disable(user, true).await;
        self.alive().await;
        self.fail_over();
        if gone {
            // Written again, as by a rotation: newer than all that was seen of him.
            self.disable(user, true).await;
            self.disable(user, false).await;
            self.visit(user).await;
        }
    }

    pub(super) async fn outage(&mut self, user: usize, damage: bool) -> Result<(), String> {
        self.visit(user).await;
        self.push(Pushed::Down);
        self.disable(user, true).await;
        let (wait, error) = if damage {
            (5, StoreError::Damaged("as told".into()))
        } else {
            (11, away())
        };
        sleep(Duration::from_secs(wait)).await;
        self.settle().await?;
        self.ask(user, false);
        breathe().await;
        self.fail_all(&error).await;
        Ok(())
    }

    pub(super) async fn unreadable(&mut self, user: usize) -> Result<(), String> {
        self.visit(user).await;
        self.push(Pushed::Down);
        breathe().await;
        self.disable(user, true).await;
        self.push(Pushed::Up);
        for _ in 0..5 {
            sleep(Duration::from_secs(1)).await;
            self.alive().await;
        }
        self.settle().await?;
        self.ask(user, false);
        breathe().await;
        self.fail_all(&away()).await;
        Ok(())
    }

    pub(super) async fn unpushed(&mut self, user: usize, pushed: Pushed) -> Result<(), String> {
        self.visit(user).await;
        self.push(pushed);
        breathe().await;
        if pushed == Pushed::Up {
            self.visit(user).await;
        }
        self.disable(user, true).await;
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            if pushed != Pushed::Up {
                self.alive().await;
            }
        }
        self.settle().await?;
        self.visit(user).await;
        Ok(())
    }

    pub(super) async fn storm(&mut self, user: usize, odd: bool) -> Result<(), String> {
        self.ask(user, false);
        breathe().await;
        for n in 0..7 {
            let count = self.script.stage().pending.len();
            (0..count).for_each(|n| self.with_read(n, |stage, n| stage.look(n)));
            self.disable(user, (n % 2 == 0) != odd).await;
            self.alive().await;
            breathe().await;
            self.ask(user, false);
            breathe().await;
            let count = self.script.stage().pending.len();
            (0..count).for_each(|_| self.with_read(0, |stage, n| stage.answer(n)));
            self.settle().await?;
        }
        Ok(())
    }
}
