namespace Blkring.Settings;

internal static class Nearest
{
    /// <summary>
    /// The candidate with the least edit distance (Levenshtein), ignoring case.
    /// </summary>
    public static string Of(string text, IReadOnlyList<string> candidates) =>
        candidates.MinBy(candidate => Distance(text.ToUpperInvariant(), candidate.ToUpperInvariant()))!;

    private static int Distance(string from, string to)
    {
        // Keys come from files and the environment and may be of any length: compare the beginning only.
        const int maxLength = 64;
        if (from.Length > maxLength)
            from = from[..maxLength];
        int[] row = [.. Enumerable.Range(0, to.Length + 1)];
        for (int i = 1; i <= from.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= to.Length; j++)
            {
                int replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[^1];
    }
}
