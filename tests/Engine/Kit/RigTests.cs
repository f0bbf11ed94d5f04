using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Kit;

/// <summary>The rig reports what it notices, and never in the place of what the test itself found.</summary>
public sealed class RigTests
{
    [Fact]
    public void A_violation_that_the_test_did_not_ask_about_is_reported_after_it()
    {
        using (Rig rig = new(BlkifProtocol.X86_64))
            Violate(rig);

        string message = Assert.Throws<ViolationException>(AfterTest).Message;
        Assert.Contains("does not lie in the disk", message, StringComparison.Ordinal);
        // It is told once.
        AfterTest();
    }

    [Fact]
    public void The_first_failure_passes_a_rig_that_has_something_to_report()
    {
        // As an action: the compiler would take a body that only throws for one that returns a task, too.
        Action body = () =>
        {
            using Rig rig = new(BlkifProtocol.X86_64);
            Violate(rig);
            throw new InvalidOperationException("the first failure");
        };

        InvalidOperationException first = Assert.Throws<InvalidOperationException>(body);
        Assert.Equal("the first failure", first.Message);
        Assert.Throws<ViolationException>(AfterTest);
    }

    [Fact]
    public void A_rig_that_is_asked_answers_at_once_and_only_once()
    {
        using (Rig rig = new(BlkifProtocol.X86_64))
        {
            Violate(rig);
            Assert.Throws<ViolationException>(rig.Verify);
        }
        AfterTest();
    }

    [Fact]
    public void A_rig_that_is_never_disposed_is_reported()
    {
        Rig rig = new(BlkifProtocol.X86_64);
        string message = Assert.Throws<ViolationException>(AfterTest).Message;
        Assert.Equal("a Rig was never disposed", message);
        rig.Verify();
    }

    [Fact]
    public void Pages_that_stay_mapped_are_reported()
    {
        using (Rig rig = new(BlkifProtocol.X86_64))
            rig.Witness.MappedPages++;
        Assert.Equal("1 pages stay mapped", Assert.Throws<ViolationException>(AfterTest).Message);
    }

    [Fact]
    public void A_daemon_dies_at_the_step_that_was_chosen_and_the_next_one_serves_its_request()
    {
        using TempDirectory directory = new();
        byte[] expected = [];
        for (int steps = 0, deaths = 1; deaths > 0; steps++)
        {
            Mortality life = new();
            RigOptions options = new() { JournalPath = directory.PathOf($"journal-{steps}"), Life = life };
            using Rig rig = new(BlkifProtocol.X86_64, options);
            Blkif.DecodedRequest write = rig.Request(Blkif.OpWrite, 8, Requests.Pages(1));
            rig.FillGuest(in write);
            expected = rig.GuestBytes(in write);
            rig.Put(in write);
            rig.Frontend.Push();
            life.StepsLeft = steps;
            try
            {
                rig.Run();
                rig.FinishDisk();
            }
            catch (KilledException)
            {
                rig.NextDaemon(new ScriptedDisk(4096, content: rig.Disk.Content));
                rig.Run();
                rig.FinishDisk();
            }
            Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
            Assert.Equal(expected, rig.Disk.Sectors(8, Requests.PageSectors));
            rig.Verify();
            deaths = life.Deaths;
            // At the least before and behind the copy, and before and behind the notification.
            Assert.True(deaths == 1 || steps >= 4, $"it lived on with {steps} steps");
        }
    }

    private static void AfterTest() => new VerifiesRigsAttribute().After(null!, null!);

    /// <summary>Asks the disk for what no queue may ask for.</summary>
    private static void Violate(Rig rig) =>
        rig.Disk.Start(
            new DiskOperation
            {
                Kind = DiskOperationKind.Discard,
                OffsetBytes = -512,
                LengthBytes = 512,
            },
            rig.Disk.Ports[0]
        );
}
