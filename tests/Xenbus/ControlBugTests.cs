using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>An exception on a thread of the control plane ends neither the thread nor the process.</summary>
public sealed class ControlBugTests
{
    [Fact]
    public void A_bug_while_events_are_taken_opens_the_store_again()
    {
        MemoryXenstore store = new();
        int connected = 0,
            thrown = 0;
        List<string> reasons = [];
        using WatchLoop loop = new(
            store.Connect,
            ("backend/vbd3", "token"),
            _ => connected++,
            reasons.Add,
            (_, _) =>
            {
                if (thrown++ == 0)
                    throw new InvalidOperationException("a bug");
            },
            TimeProvider.System
        );
        loop.Start();
        TimeSpan due = WatchThread.Turn(loop, hungUp: false);
        Assert.Contains("a bug", Assert.Single(reasons), StringComparison.Ordinal);
        Thread.Sleep(due);
        Wait.Until(
            () =>
            {
                WatchThread.Turn(loop, hungUp: false);
                return connected == 2 && thrown > 1;
            },
            "the events of the next connection are taken"
        );
    }

    [Fact]
    public void A_step_with_a_bug_runs_again_and_others_are_not_held_up()
    {
        StepPool pool = new("test", TimeProvider.System, parallel: 1);
        FaultyStep faulty = new(failures: 3, pool),
            well = new(failures: 0, pool);
        pool.Mark(faulty);
        pool.Mark(well);
        Wait.Until(() => faulty.Runs == 4 && well.Runs == 1, "both have run");
        Assert.Equal(3, faulty.Bugs);
        pool.Close();
        Assert.True(pool.Join(Wait.Limit));
    }

    private sealed class FaultyStep(int failures, StepPool pool) : Step
    {
        public int Runs { get; private set; }
        public int Bugs { get; private set; }

        protected override void Act()
        {
            if (++Runs <= failures)
                throw new InvalidOperationException("a bug");
        }

        protected override void NoteBug(Exception bug)
        {
            Bugs++;
            pool.MarkLater(this, TimeSpan.FromMilliseconds(1));
        }
    }
}
