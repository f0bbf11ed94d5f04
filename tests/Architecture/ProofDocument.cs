using System.Text;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Blkring.Architecture.Tests;

/// <summary>
/// One section of a document of facts: a heading, prose, and lines that begin with a label and a colon.
/// </summary>
internal sealed record FactSection(string Number, string Title, string Prose, string[] Code, string[] Keys);

/// <summary>
/// A document with one section per fact. People write heading, prose and the names of types; this class writes the
/// links to the sources of the types and the list of the tests which say that they prove the fact.
/// </summary>
internal sealed partial class ProofDocument(string path)
{
    private readonly string _text = Repository.Read(path);

    public IReadOnlyList<FactSection> Sections =>
        [
            .. Heading()
                .Split(_text)
                .Skip(1) // what comes before the first heading; then number, title and body of each
                .Chunk(3)
                .Select(parts => new FactSection(
                    parts[0],
                    parts[1],
                    ProofList().Replace(parts[2], "").Trim(),
                    Names(parts[2], "Code"),
                    Names(parts[2], "Keys")
                )),
        ];

    /// <summary>Of the text as it is read: the target of a link does not count.</summary>
    public int LongestLine => Linked().Replace(_text, "$1").Split('\n').Max(line => line.Length);

    /// <summary>The document as it must be.</summary>
    public string Written(IReadOnlyList<Proof> proofs)
    {
        string text = ProofList().Replace(_text, "");
        text = CodeLine().Replace(text, line => $"Code: {string.Join(", ", Split(line.Groups[1].Value).Select(Link))}");
        text = Heading()
            // The list goes before the next heading.
            .Replace(text, heading => $"\u0001{heading.Groups[1].Value}\u0001{heading.Value}");
        string[] parts = text.Split('\u0001');
        StringBuilder written = new(parts[0]);
        for (int i = 1; i < parts.Length; i += 2)
        {
            // A section ends at the next heading of any level; a chapter's comes before that of its first fact.
            string body = parts[i + 1];
            int chapter = body.IndexOf("\n## ", StringComparison.Ordinal);
            string own = (chapter < 0 ? body : body[..chapter]).TrimEnd();
            written.Append(own).Append("\n\n").Append(List(parts[i], proofs));
            written.Append(chapter < 0 ? "\n" : body[chapter..]);
        }
        return written.ToString().TrimEnd() + "\n";
    }

    private static string List(string number, IReadOnlyList<Proof> proofs)
    {
        Proof[] own = [.. proofs.Where(proof => proof.Facts.Contains(number))];
        StringBuilder list = new();
        list.Append($"<details><summary>Proved by {own.Length} test{(own.Length == 1 ? "" : "s")}</summary>\n\n");
        foreach (IGrouping<string, Proof> file in own.GroupBy(proof => proof.File))
        {
            list.Append($"- [{file.First().Class}](../{file.Key})\n");
            foreach (Proof proof in file)
                list.Append($"  - `{proof.Method}`\n");
        }
        return list.Append("\n</details>\n").ToString();
    }

    private static string Link(string type)
    {
        Assert.True(Types.TryGetValue(type, out string? file), $"src/ has no type {type}");
        return $"[{type}](../{file})";
    }

    private static string[] Names(string body, string label) =>
        [
            .. Regex
                .Matches(body, $"^{label}: (.*)$", RegexOptions.Multiline)
                .SelectMany(line => Split(line.Groups[1].Value)),
        ];

    private static IEnumerable<string> Split(string names) =>
        names.Split(", ").Select(name => Linked().Replace(name.Trim(), "$1"));

    /// <summary>The types of src/ and the files that declare them; of a partial type, the file of its name.</summary>
    public static IReadOnlyDictionary<string, string> Types { get; } =
        Sources
            .FilesOf("src")
            .SelectMany(file =>
                CSharpSyntaxTree
                    .ParseText(Repository.Read(file))
                    .GetRoot()
                    .DescendantNodes()
                    .OfType<BaseTypeDeclarationSyntax>()
                    .Select(type => (Name: type.Identifier.Text, File: file))
            )
            .GroupBy(type => type.Name)
            .ToDictionary(
                types => types.Key,
                types =>
                    types
                        .OrderBy(type => Path.GetFileNameWithoutExtension(type.File) != type.Name)
                        .ThenBy(type => type.File, StringComparer.Ordinal)
                        .First()
                        .File
            );

    [GeneratedRegex(@"^### ([BF]\d+)\. (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^Code: (.*)$", RegexOptions.Multiline)]
    private static partial Regex CodeLine();

    [GeneratedRegex(@"\[([^\]]+)\]\([^)]*\)")]
    private static partial Regex Linked();

    [GeneratedRegex(@"\n*<details><summary>Proved by.*?</details>", RegexOptions.Singleline)]
    private static partial Regex ProofList();
}
