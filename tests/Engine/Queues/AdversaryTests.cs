using System.Globalization;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// Requests of every kind, most of them valid, on devices of every kind, over a disk that ends its operations in any
/// order, in part, late, not at all or twice; and a model that knows what each response and each sector may be.
/// </summary>
/// <remarks>
/// <c>BLKRING_SEEDS=10000</c> tries that many devices per ABI instead of a few; <c>BLKRING_FIRST_SEED</c> is the first
/// seed.
/// </remarks>
public sealed class AdversaryTests
{
    private const int Steps = 600;

    [Theory, EveryAbi]
    public void Whatever_guests_and_disk_do_every_answer_and_every_sector_is_right(BlkifProtocol protocol)
    {
        (int answered, int served, _) = Try(protocol, journalPath: null);
        // Most of the requests succeeded.
        Assert.InRange(served, answered / 2, answered);
    }

    /// <summary>As above, and the daemon is killed at any step of any request.</summary>
    [Theory, EveryAbi]
    [Proves("B19", "F20")]
    public void And_so_they_are_when_the_daemon_is_killed_over_and_over(BlkifProtocol protocol)
    {
        using TempImage folder = new(8);
        (int answered, int served, int deaths) = Try(protocol, folder.PathOf("journal"));
        Assert.InRange(served, answered / 2, answered);
        Assert.True(deaths > 0);
    }

    private static (int Answered, int Served, int Deaths) Try(BlkifProtocol protocol, string? journalPath)
    {
        (int answered, int served, int deaths) = (0, 0, 0);
        int first = Setting("BLKRING_FIRST_SEED", 1);
        for (int seed = first, end = first + Setting("BLKRING_SEEDS", 40); seed < end; seed++)
        {
            int lot = (seed * 3) + (int)protocol;
            AdversaryOptions options = AdversaryOptions.Of(protocol, new Random(lot)) with
            {
                JournalPath = journalPath,
            };
            try
            {
                using Adversary adversary = new(options, lot);
                adversary.Run(Steps);
                (answered, served, deaths) = (
                    answered + adversary.Answered,
                    served + adversary.Served,
                    deaths + adversary.Deaths
                );
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}: {options}", error);
            }
        }
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{answered} requests answered, {served} of them served, by {deaths + 1} daemons"
        );
        return (answered, served, deaths);
    }

    private static int Setting(string name, int usual) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text
            ? int.Parse(text, CultureInfo.InvariantCulture)
            : usual;
}
