using System.Globalization;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests;

/// <summary>
/// Requests of every kind, most of them valid, on devices of every kind, over a disk that ends its operations in any order, in part, late,
/// not at all or twice; and a model that knows what each response and each sector may be.
/// </summary>
/// <remarks><c>BLKRING_SEEDS=10000</c> tries so many devices an ABI instead of a few; <c>BLKRING_FIRST_SEED</c> says where to begin.</remarks>
public sealed class AdversaryTests
{
    private const int Steps = 600;

    [Theory, EveryAbi]
    public void Whatever_guests_and_disk_do_every_answer_and_every_sector_is_right(BlkifProtocol protocol)
    {
        int first = Setting("BLKRING_FIRST_SEED", 1), answered = 0, served = 0;
        for (int seed = first, end = first + Setting("BLKRING_SEEDS", 40); seed < end; seed++)
        {
            int lot = (seed * 3) + (int)protocol;
            AdversaryOptions options = AdversaryOptions.Of(protocol, new Random(lot));
            try
            {
                using Adversary adversary = new(options, lot);
                adversary.Run(Steps);
                (answered, served) = (answered + adversary.Answered, served + adversary.Served);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}: {options}", error);
            }
        }
        // Most of what was asked for could be done.
        Assert.InRange(served, answered / 2, answered);
        TestContext.Current.TestOutputHelper?.WriteLine($"{answered} requests answered, {served} of them served");
    }

    private static int Setting(string name, int usual) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : usual;
}
