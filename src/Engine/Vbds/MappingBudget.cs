using System.Globalization;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Vbds;

/// <summary>What a queue may have mapped at a time: guests' pages, each a grant, and the ranges they are in.</summary>
public readonly record struct MappedShare(int Ranges, int Grants);

/// <summary>What this process may map of guests' pages at a time, for all devices.</summary>
/// <remarks>
/// Both are finite, and shared with others. The kernel counts what one call mapped as one range, never merges ranges of
/// gntdev, and allows a process vm.max_map_count of them. The hypervisor keeps an entry for each grant that a domain
/// has mapped, by whichever of its backends, and maps no more when all are in use. Beyond either limit a guest's
/// request fails. So each queue takes the most that it can need when it connects, or else copies.
/// <para>
/// What a queue takes beyond the least that serves it well comes from the first half, so that large rings leave room
/// for those that connect later. One guest has at most half of the grants.
/// </para>
/// </remarks>
public sealed class MappingBudget(int ranges, int grants = IHypervisor.DefaultMappableGrants)
{
    private const string LimitPath = "/proc/sys/vm/max_map_count";
    private const int DefaultLimit = 65530;

    private readonly Lock _lock = new();
    private readonly Dictionary<DomainId, int> _grantsByGuest = [];
    private int _ranges,
        _grants;

    /// <summary>The budget of this process: a quarter of the kernel's ranges is left for everything else.</summary>
    public static MappingBudget OfProcess { get; } = Of(File.ReadAllText);

    /// <summary>The grants that may be taken, and those that are.</summary>
    public int MaxGrants => grants;
    public int TakenGrants => Volatile.Read(ref _grants);

    /// <param name="readFile">Returns the text of a file of the kernel.</param>
    /// <param name="grants">The grants that may be mapped at a time.</param>
    public static MappingBudget Of(Func<string, string> readFile, int grants = IHypervisor.DefaultMappableGrants) =>
        new(ReadLimit(readFile) / 4 * 3, grants);

    /// <param name="isSpare">More than the least that serves the queue well.</param>
    /// <returns>False if less is left; then nothing is taken.</returns>
    public bool TryTake(DomainId guest, MappedShare share, bool isSpare = false)
    {
        int part = isSpare ? 2 : 1;
        lock (_lock)
        {
            int ofGuest = _grantsByGuest.GetValueOrDefault(guest) + share.Grants;
            bool fits =
                _ranges + share.Ranges <= ranges / part
                && _grants + share.Grants <= grants / part
                && ofGuest <= grants / 2 / part;
            if (!fits && share != default)
                return false;
            Add(guest, share.Ranges, share.Grants);
            return true;
        }
    }

    public void Return(DomainId guest, MappedShare share)
    {
        lock (_lock)
            Add(guest, -share.Ranges, -share.Grants);
    }

    private void Add(DomainId guest, int moreRanges, int moreGrants)
    {
        _ranges += moreRanges;
        Volatile.Write(ref _grants, _grants + moreGrants);
        int ofGuest = _grantsByGuest.GetValueOrDefault(guest) + moreGrants;
        if (ofGuest == 0)
            _grantsByGuest.Remove(guest);
        else
            _grantsByGuest[guest] = ofGuest;
    }

    private static int ReadLimit(Func<string, string> readFile)
    {
        try
        {
            return int.Parse(readFile(LimitPath), NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
        }
        catch (Exception e)
            when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            return DefaultLimit;
        }
    }
}
