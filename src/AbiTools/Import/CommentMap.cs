using System.Text;

namespace Blkring.AbiTools.Import;

/// <summary>
/// The comments of one header by line: a comment after a declaration, or right before it, documents it.
/// </summary>
internal sealed class CommentMap
{
    // How many comments before a declaration are examined, for lines with several members.
    private const int MostBefore = 16;

    private readonly Dictionary<int, Comment> _behindCode = [];
    private readonly Dictionary<int, Comment> _aloneByFirstLine = [];
    private readonly Dictionary<int, Comment> _aloneByLastLine = [];
    private readonly List<Comment> _head = [];

    public CommentMap(string source)
    {
        foreach (Comment comment in Scan(source))
        {
            if (comment.IsAlone)
            {
                _aloneByFirstLine.TryAdd(comment.FirstLine, comment);
                _aloneByLastLine[comment.LastLine] = comment;
            }
            else
            {
                _behindCode[comment.FirstLine] = comment;
            }
            if (comment.IsInHead)
                _head.Add(comment);
        }
    }

    /// <summary>The comments at the start of the file, before any code.</summary>
    public IEnumerable<string> Head => _head.Select(c => c.Text);

    /// <summary>The documentation of a declaration on these lines, cleaned up; empty if it has none.</summary>
    public string Of(string name, int firstLine, int lastLine)
    {
        string behind = CommentText.Clean(Behind(lastLine));
        if (behind.Length > 0)
            return behind;
        List<string> before = Before(firstLine);
        // Several members on one line have their comments before the line, each with the name of its member.
        string? named = before.FirstOrDefault(text =>
            text.TrimStart('/', '*', ' ').StartsWith($"@{name}:", StringComparison.Ordinal)
        );
        if (named is not null)
            return CommentText.Clean(named.Replace($"@{name}:", "", StringComparison.Ordinal));
        return before.Count == 0 || before[^1].TrimStart('/', '*', ' ').StartsWith('@')
            ? ""
            : CommentText.Clean(before[^1]);
    }

    private string Behind(int line)
    {
        if (!_behindCode.TryGetValue(line, out Comment? comment))
            return "";
        var text = new StringBuilder(comment.Text);
        // A sentence may continue in the comment of the next line, below the first.
        while (_aloneByFirstLine.TryGetValue(comment.LastLine + 1, out Comment? next) && next.Column == comment.Column)
        {
            text.Append('\n').Append(next.Text);
            comment = next;
        }
        return text.ToString();
    }

    private List<string> Before(int line)
    {
        var texts = new List<string>();
        for (
            int last = line - 1;
            texts.Count < MostBefore && _aloneByLastLine.TryGetValue(last, out Comment? comment);
            last = comment.FirstLine - 1
        )
            texts.Add(comment.Text);
        texts.Reverse();
        return texts;
    }

    /// <summary>
    /// Finds C's comments. Strings and characters are skipped, because they can contain what looks like one.
    /// </summary>
    private static IEnumerable<Comment> Scan(string source)
    {
        int line = 1;
        int lineStart = 0;
        bool codeOnLine = false;
        bool codeAbove = false;
        for (int i = 0; i < source.Length; i++)
        {
            char c = source[i];
            if (c == '\n')
            {
                line++;
                lineStart = i + 1;
                codeAbove |= codeOnLine;
                codeOnLine = false;
            }
            else if (c == '/' && i + 1 < source.Length && source[i + 1] is '*' or '/')
            {
                int end =
                    source[i + 1] == '*'
                        ? source.IndexOf("*/", i + 2, StringComparison.Ordinal) + 2
                        : source.IndexOf('\n', i);
                // An unclosed comment extends to the end of the file; libclang has already refused it.
                if (end < i + 2)
                    end = source.Length;
                string text = source[i..end];
                int lines = text.AsSpan().Count('\n');
                yield return new Comment(
                    line,
                    line + lines,
                    i - lineStart,
                    text,
                    !codeOnLine,
                    !codeOnLine && !codeAbove
                );
                line += lines;
                if (lines > 0)
                    lineStart = source.LastIndexOf('\n', end - 1) + 1;
                i = end - 1;
            }
            else if (c is '"' or '\'')
            {
                codeOnLine = true;
                for (i++; i < source.Length && source[i] != c && source[i] != '\n'; i++)
                {
                    if (source[i] == '\\')
                        i++;
                }
                if (i < source.Length && source[i] == '\n')
                    i--;
            }
            else if (!char.IsWhiteSpace(c))
            {
                codeOnLine = true;
            }
        }
    }

    private sealed record Comment(int FirstLine, int LastLine, int Column, string Text, bool IsAlone, bool IsInHead);
}

/// <summary>A comment's words without its stars, rules and tables.</summary>
internal static class CommentText
{
    private const int LongestDoc = 600;

    // The characters of drawings and rules.
    private static readonly string[] Drawings = ["---", "***", "===", "+-", "-+", "| "];

    private static readonly string[] Legal =
    [
        "SPDX-",
        "Copyright",
        "Permission is hereby granted",
        "The above copyright notice",
        "THE SOFTWARE IS",
    ];

    /// <summary>The first paragraph of prose, on one line; empty if there is none.</summary>
    public static string Clean(string comment) =>
        Paragraphs(comment).FirstOrDefault(IsProse) is { } text ? Shorten(text) : "";

    /// <summary>How a header describes itself: its first prose that is neither its name nor its licence.</summary>
    public static string Description(IEnumerable<string> head, string fileName) =>
        head.SelectMany(Paragraphs)
            .Select(p =>
                p.StartsWith(fileName, StringComparison.Ordinal) ? p[fileName.Length..].TrimStart(' ', '-', ':') : p
            )
            .FirstOrDefault(p => IsProse(p) && !Legal.Any(l => p.Contains(l, StringComparison.Ordinal)))
            is { } text
            ? Shorten(text)
            : "";

    public static IEnumerable<string> CopyrightLines(IEnumerable<string> head) =>
        head.SelectMany(Lines)
            .Where(line => line.StartsWith("Copyright", StringComparison.Ordinal))
            .Select(line => string.Join(' ', line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)));

    private static bool IsProse(string text) =>
        text.Any(char.IsLetter) && !Drawings.Any(d => text.Contains(d, StringComparison.Ordinal));

    private static IEnumerable<string> Paragraphs(string comment)
    {
        var words = new List<string>();
        foreach (string line in Lines(comment).Append(""))
        {
            bool isRule = line.Length > 0 && !line.Any(char.IsLetterOrDigit);
            if (line.Length > 0 && !isRule)
            {
                words.AddRange(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
            }
            else if (words.Count > 0)
            {
                yield return string.Join(' ', words);
                words.Clear();
            }
        }
    }

    private static IEnumerable<string> Lines(string comment) =>
        comment
            .Replace("*/", "", StringComparison.Ordinal)
            .Split('\n')
            .Select(line => line.Trim().TrimStart('/', '*', '<').Trim().TrimEnd('*').TrimEnd());

    private static string Shorten(string text)
    {
        // XML 1.0 cannot hold control characters, and a header may have any encoding.
        text = new string([.. text.Where(c => c >= ' ' && !char.IsSurrogate(c) && c < '\ufffd')]);
        if (text.Length <= LongestDoc)
            return text;
        int end = text.LastIndexOf(". ", LongestDoc, StringComparison.Ordinal);
        return end > 0 ? text[..(end + 1)] : text[..LongestDoc] + "…";
    }
}
