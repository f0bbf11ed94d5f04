using Blkring.AbiTools.Layouts;

namespace Blkring.AbiTools.Diff;

/// <summary>
/// Compares protocols by the names of their parts. A difference is compatible only if it cannot change the meaning of a
/// byte that both versions define. A difference that needs a person's judgement counts as incompatible.
/// </summary>
public static class AbiComparer
{
    /// <summary>Protocols are paired by name.</summary>
    public static AbiComparison Compare(IReadOnlyList<AbiModel> before, IReadOnlyList<AbiModel> after)
    {
        List<AbiDifference> found = [];
        Pair(
            before,
            after,
            m => m.Protocol,
            old => found.Add(new("protocol-removed", old.Protocol, old.Protocol, "protocol removed", false)),
            added => found.Add(new("protocol-added", added.Protocol, added.Protocol, "protocol added", true)),
            (old, now) => new ProtocolComparer(old, now, found).Compare()
        );
        return new AbiComparison(found);
    }

    /// <summary>
    /// Reports what was removed and what both have, in the order of <paramref name="before"/>, then what was added.
    /// </summary>
    internal static void Pair<T>(
        IEnumerable<T> before,
        IEnumerable<T> after,
        Func<T, string> name,
        Action<T> removed,
        Action<T> added,
        Action<T, T> both
    )
        where T : class
    {
        Dictionary<string, T> now = after.ToDictionary(name, StringComparer.Ordinal);
        Dictionary<string, T> earlier = before.ToDictionary(name, StringComparer.Ordinal);
        foreach (T old in earlier.Values)
        {
            if (now.TryGetValue(name(old), out T? other))
                both(old, other);
            else
                removed(old);
        }
        foreach (T item in now.Values.Where(item => !earlier.ContainsKey(name(item))))
            added(item);
    }
}
